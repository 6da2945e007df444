"""How many runs one caller may have, and how many may wait in all (reliability A11)."""

from ..errors import Overloaded, TooMany
from ..models import Caller, PendingLimits
from ..storage import runs
from ..storage.database import Tx


def check(tx: Tx, caller: Caller, limits: PendingLimits) -> None:
    """Raises TooMany for a caller who has as many runs as he may."""
    most = limits.active_per_identity
    if most and runs.count_active_of(tx, caller.identity) >= most:
        raise TooMany(f"{most} of your runs are waiting or running; try again later")


def check_room(tx: Tx, caller: Caller, limits: PendingLimits) -> None:
    """Raises TooMany or Overloaded when nobody else may wait."""
    if runs.count_pending_of(tx, caller.identity) >= limits.per_identity:
        raise TooMany(f"{limits.per_identity} of your runs are waiting; try again later")
    if runs.count_pending(tx) >= limits.total:
        raise Overloaded(f"{limits.total} runs are waiting; try again later")
