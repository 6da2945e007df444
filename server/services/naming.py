"""Names that clients give to runs, so that a call can be repeated without a second run.

A run may be named by `run_id` in the body or by the header `Idempotency-Key` (the IETF draft of that name).
The name is kept with a fingerprint of the request: the same call finds its run, another one is refused.
"""

import hashlib
import json
from dataclasses import fields

from ..clock import after, now
from ..errors import Conflict, Invalid
from ..models import Caller, RunRequest
from ..storage import names
from ..storage.database import Database, Tx
from ..storage.locks import lock
from ..storage.names import Named

NAMES_SECONDS = 86_400.0
EARLY_CANCELS_SECONDS = 600.0


def known(tx: Tx, caller: Caller, thread_id: str | None, request: RunRequest) -> Named | None:
    """The run that an earlier call made under the request's names; all of them stand for it from now on.

    Raises Conflict for a run id, Invalid for a key, that stands for another request.
    """
    found: Named | None = None
    for name in _names(request):
        lock(tx, f"{name} of {caller.identity}")  # until the run of the first who says it is there
        named = names.get(tx, caller.identity, name)
        if named is None:
            continue
        runs = {named.run_id, request.run_id or named.run_id, found.run_id if found else named.run_id}
        if named.fingerprint != _fingerprint(thread_id, request) or len(runs) > 1:
            raise _taken(name, named)
        found = named
    if found is not None:
        remember(tx, caller, thread_id, request, found.run_id, found.thread_id)
    return found


def _taken(name: str, named: Named) -> Conflict | Invalid:
    if name.startswith("run "):
        return Conflict(f"run_id: there is a run {named.run_id} already, of another request")
    return Invalid("Idempotency-Key: it was used for another request")


def remember(
    tx: Tx, caller: Caller, thread_id: str | None, request: RunRequest, run_id: str, on: str
) -> None:
    """Keep the names of a run that was admitted on the thread `on`."""
    for name in _names(request):
        if names.get(tx, caller.identity, name) is None:
            named = Named(run_id, on, _fingerprint(thread_id, request))
            names.add(tx, caller.identity, name, named, now())


def remember_maker(tx: Tx, caller: Caller, run_id: str, on: str) -> None:
    """Whose a run is of which nothing will be left but, for a while, its log."""
    if names.get(tx, caller.identity, f"made {run_id}") is None:
        names.add(tx, caller.identity, f"made {run_id}", Named(run_id, on, ""), now())


def is_maker(tx: Tx, caller: Caller, run_id: str) -> bool:
    """Whether the caller made a run that nothing else tells of."""
    return names.get(tx, caller.identity, f"made {run_id}") is not None


def _names(request: RunRequest) -> list[str]:
    found = []
    if request.run_id is not None:
        found.append(f"run {request.run_id}")
    if request.idempotency_key is not None:
        found.append(f"key {request.idempotency_key}")
    return found


def _fingerprint(thread_id: str | None, request: RunRequest) -> str:
    asked = {field.name: getattr(request, field.name) for field in fields(request)}
    asked.update(thread_id=thread_id, run_id=None, idempotency_key=None, arrived_at=None, traceparent=None)
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


class Names:
    """Names and early cancels, for whoever throws away what is old. No caller stands behind it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def forget(self) -> None:
        """Drop names that are older than a day and cancels whose runs did not come within ten minutes."""
        before = after(-NAMES_SECONDS), after(-EARLY_CANCELS_SECONDS)
        while await self._database.write(lambda tx: names.forget(tx, *before)) >= names.FORGET:
            pass
