"""The workers that are alive, and duties that one process has at a time; both last as long as a lease."""

from ..storage import workers as statements
from ..storage.database import Database, Tx


class Roster:
    """Rows with an end that is put off by whoever lives. No caller stands behind these."""

    def __init__(self, database: Database, lease_seconds: float) -> None:
        self._database = database
        self._lease_seconds = lease_seconds

    async def join(self, worker_id: str, former_id: str | None = None) -> None:
        """A worker begins, in the place of a former one."""

        def work(tx: Tx) -> None:
            if former_id is not None:
                statements.leave(tx, former_id)
            statements.join(tx, worker_id, self._lease_seconds)

        await self._database.write(work)

    async def beat(self, worker_id: str) -> bool:
        """A worker lives. False: it was taken for dead."""
        return await self._database.write(lambda tx: statements.beat(tx, worker_id, self._lease_seconds))

    async def leave(self, worker_id: str) -> None:
        """A worker ends in order."""
        await self._database.write(lambda tx: statements.leave(tx, worker_id))

    async def bury(self) -> int:
        """Forget the workers that are dead: what they executed has nobody. Returns how many."""
        return await self._database.write(statements.bury)

    async def unlock(self) -> int:
        """End what processes left undone that have stopped, so that others can go on. Returns how much."""
        return await self._database.read(lambda tx: statements.unlock(tx, self._lease_seconds / 2))

    async def take(self, duty: str, holder: str) -> bool:
        """Whether a process has a duty for a lease from now on."""
        return await self._database.write(
            lambda tx: statements.take_duty(tx, duty, holder, self._lease_seconds)
        )

    async def give_up(self, duty: str, holder: str) -> None:
        """Let another have a duty at once."""
        await self._database.write(lambda tx: statements.give_up_duty(tx, duty, holder))
