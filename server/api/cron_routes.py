"""The operations on crons: a part of the table of contents. Their paths come before those of runs."""

from . import crons
from .operation import Operation
from .schemas.crons import CronCreate, CronFilter, CronPatch, CronSearch, CronView
from .schemas.meta import Count

_MISSING = (404,)
_MAKING = (400, 404, 409)

CRONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/threads/{thread_id}/runs/crons",
        crons.create_on_thread,
        CronView,
        CronCreate,
        errors=_MAKING,
    ),
    Operation("POST", "/runs/crons", crons.create, CronView, CronCreate, errors=_MAKING),
    Operation("POST", "/runs/crons/search", crons.search, [CronView], CronSearch, paged=True),
    Operation("POST", "/runs/crons/count", crons.count, Count, CronFilter),
    Operation("GET", "/runs/crons/{cron_id}", crons.get, CronView, errors=_MISSING),
    Operation("PATCH", "/runs/crons/{cron_id}", crons.patch, CronView, CronPatch, errors=(400, 404)),
    Operation("DELETE", "/runs/crons/{cron_id}", crons.delete, None, status=204, errors=_MISSING),
)
