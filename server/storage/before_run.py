"""The state of a thread as if one of its runs had never been: what a rollback or a deletion will leave."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, get_checkpoint_id

from .checkpoints import DatabaseSaver
from .database import Tx
from .layouts import Statement
from .traces import AT, newest_without

_HERE = "thread_id = :thread AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint"
_writes = Statement(f"""
    SELECT task_id, channel, type, {{value}}, idx FROM {{writes}} WHERE {_HERE}
        AND ({AT}) NOT IN (SELECT {AT} FROM run_writes WHERE run_id = :run)
    UNION ALL
    SELECT task_id, channel, type, value, idx FROM run_writes
        WHERE {_HERE} AND run_id = :run AND channel IS NOT NULL
    ORDER BY task_id, idx
""")


class SaverBeforeRun(DatabaseSaver):
    """Reads past what one run wrote. Only for reading."""

    def __init__(self, saver: DatabaseSaver, run_id: str) -> None:
        self.__dict__.update(saver.__dict__)
        self._run_id = run_id

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._database.read_now(lambda tx: self._before(tx, config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self._database.read_here(lambda tx: self._before(tx, config))

    def _before(self, tx: Tx, config: RunnableConfig) -> CheckpointTuple | None:
        inner: dict[str, Any] = dict(config["configurable"])
        if get_checkpoint_id(config) is None:
            inner["checkpoint_id"], _ = newest_without(
                tx, inner["thread_id"], self._run_id, inner.get("checkpoint_ns", "")
            )
        if inner["checkpoint_id"] is None:
            return None
        found = self._on(tx).get_tuple({"configurable": inner})
        if found is None:
            return None
        at = {"thread": inner["thread_id"], "ns": inner.get("checkpoint_ns", ""), "run": self._run_id}
        rows = tx.execute(_writes.on(tx), {**at, "checkpoint": inner["checkpoint_id"]})
        writes = [(row[0], row[1], self.serde.loads_typed((row[2], row[3]))) for row in rows]
        return found._replace(pending_writes=writes)
