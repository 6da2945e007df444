"""Rules of copying a thread: a thread of its own that has the same past and goes on from the same place.

Its metadata, values, error and what waits for an answer are the source's; runs are not copied. It lives as
long as its source, counted from now. A long past is copied piece by piece, under an id that nobody can see.
"""

from dataclasses import dataclass, field, replace
from functools import partial

from ..clock import new_id, now
from ..errors import Conflict, TooLarge
from ..models import Caller, Json, Thread
from ..rules.access import Scope
from ..storage import pruning, threads, ttls
from ..storage import thread_copies as statements
from ..storage.database import Database, Tx
from ..storage.locks import lock_thread, lock_threads
from ..storage.pruning import Piece
from .authorization import OPEN, Authorization, metadata_in
from .threads import described, later, missing

TRIES = 5
PIECES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class _Source:
    """What is to be copied, as it was found."""

    thread_id: str
    changed_at: str
    parts: list[list[Piece]]
    owner: str = ""  # of the copy
    told: Json = field(default_factory=dict)  # what a handler adds to its metadata


class ThreadCopies:
    """Copies threads."""

    def __init__(self, database: Database, authorization: Authorization = OPEN) -> None:
        self._database = database
        self._authorization = authorization

    async def copy(self, caller: Caller, thread_id: str) -> Thread:
        """Copy a thread. Raises NotFound, TooLarge, Conflict when it does not stop changing."""
        scope = await self._authorization.ask(caller, "threads", "read", {"thread_id": thread_id})
        value: Json = {"thread_id": new_id(), "metadata": {}}
        await self._authorization.ask(caller, "threads", "create", value)
        told = metadata_in(value)
        for _ in range(TRIES):
            source = await self._database.read(lambda tx: _find(tx, thread_id, scope))
            source = replace(source, owner=caller.identity, told=told)
            if (made := await self._copy(source, new_id())) is not None:
                return made
        raise Conflict(f"Thread {thread_id} keeps changing while it is copied; try again")

    async def _copy(self, source: _Source, target: str) -> Thread | None:
        """The copy; None when the source has changed meanwhile."""
        *first, last = source.parts or [[]]
        if first:
            await self._database.write(lambda tx: statements.begin(tx, target))
        for part in first:
            if not await self._database.write(partial(_copy_part, source.thread_id, target, part)):
                break  # and `_finish` will not find its note either
        made = await self._database.write(lambda tx: _finish(tx, source, target, last, noted=bool(first)))
        if made is None:
            await discard(self._database, target)
        return made


async def discard(database: Database, target: str) -> None:
    """Take away what was copied for a thread that there will not be.

    The note goes last. Whoever copies may be another process: it finds no note, and begins anew.
    """

    def forget(tx: Tx) -> bool:
        lock_thread(tx, target)
        if threads.exists(tx, target) or not pruning.everything(tx, target, 1):
            statements.forget(tx, target)
            return True
        return False

    while not await database.write(forget):
        for part in pruning.slices(await database.read(lambda tx: pruning.everything(tx, target))):
            await database.write(partial(_take, target, part))


def _find(tx: Tx, thread_id: str, scope: Scope) -> _Source:
    changed_at = threads.changed_at(tx, thread_id, scope)
    if changed_at is None:
        raise missing(thread_id)
    pieces = pruning.everything(tx, thread_id, PIECES_MAX + 1)
    if len(pieces) > PIECES_MAX:
        raise TooLarge(f"Thread {thread_id} has more than {PIECES_MAX} checkpoints: prune it first")
    return _Source(thread_id, changed_at, [*pruning.slices(pieces)])


def _copy_part(source: str, target: str, part: list[Piece], tx: Tx) -> bool:
    """False when the copy was taken for one that nobody will finish."""
    lock_threads(tx, (source, target))
    if not statements.is_begun(tx, target):
        return False
    statements.copy(tx, source, target, part)
    return True


def _take(target: str, part: list[Piece], tx: Tx) -> None:
    """Unless it was finished meanwhile."""
    lock_thread(tx, target)
    if not threads.exists(tx, target):
        pruning.take(tx, target, part)


def _finish(tx: Tx, source: _Source, target: str, last: list[Piece], *, noted: bool) -> Thread | None:
    lock_threads(tx, (source.thread_id, target))
    if noted and not statements.is_begun(tx, target):
        return None
    if threads.changed_at(tx, source.thread_id) != source.changed_at:
        return None
    at = now()
    statements.copy(tx, source.thread_id, target, last)
    statements.finish(tx, source.thread_id, target, at, source.owner)
    if source.told:
        threads.describe(tx, target, described(threads.metadata_of(tx, target) or {}, source.told), at)
    if (ttl := ttls.get(tx, source.thread_id)) is not None:
        ttls.put(tx, target, replace(ttl, expires_at=later(at, ttl.minutes)))
    return threads.get(tx, target)
