"""A saver that keeps what a graph writes until it is wanted: all of it in one transaction, or none of it.

LangGraph updates a state in two or three writes. Between them a run may be admitted, and a half update would
tell it that its first node has run already. So the graph writes here, reads its own writes back, and whoever
asked for the update commits them together with the thread's row.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    get_checkpoint_metadata,
)

from ..models import Json
from .checkpoints import DatabaseSaver
from .database import Tx


class StagedSaver(DatabaseSaver):
    """For one update on one loop. `said` goes into the metadata of every checkpoint."""

    def __init__(self, saver: DatabaseSaver, said: Json) -> None:
        self.__dict__.update(saver.__dict__)
        self._said = said
        # LangGraph works with shallow copies of a saver: these are shared with them. What is kept is
        # serialized, so that a reader gets what it will get from the database, and an object of its own.
        self._calls: list[Callable[[Any], object]] = []
        self._checkpoints: dict[tuple[str, str], tuple[RunnableConfig, tuple[str, bytes], Any, Any]] = {}
        self._writes: dict[tuple[str, str], list[tuple[str, str, tuple[str, bytes]]]] = {}

    def commit(self, tx: Tx) -> None:
        """Do in this transaction what was asked for until now."""
        statements = self._on(tx)
        for call in self._calls:
            call(statements)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        inner = config["configurable"]
        namespace, parent_id = inner["checkpoint_ns"], inner.get("checkpoint_id")
        said = {"checkpoint_ns": namespace} if namespace else {}
        told: Any = {**self._said, **said, **metadata}
        at = _config(inner["thread_id"], namespace, checkpoint["id"])
        parent = _config(inner["thread_id"], namespace, parent_id) if parent_id else None
        self._checkpoints[namespace, checkpoint["id"]] = (
            at,
            self.serde.dumps_typed(checkpoint),
            json.loads(json.dumps(get_checkpoint_metadata(config, told))),  # no tuples: see above
            parent,
        )
        # All values, not the new ones alone: those of the parent may have gone until this is committed.
        versions = checkpoint["channel_versions"]
        known = {name: versions[name] for name in checkpoint["channel_values"] if name in versions}
        self._calls.append(lambda saver: saver.put(config, checkpoint, told, {**known, **new_versions}))
        return at

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        inner = config["configurable"]
        kept = self._writes.setdefault((inner["checkpoint_ns"], inner["checkpoint_id"]), [])
        kept += [(task_id, channel, self.serde.dumps_typed(value)) for channel, value in writes]
        self._calls.append(lambda saver: saver.put_writes(config, writes, task_id, task_path))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self.put_writes(config, writes, task_id, task_path)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._with_staged(config, super().get_tuple(config))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self._with_staged(config, await super().aget_tuple(config))

    # LangGraph's own way over `get_tuple`; the statement of the engine would not see what is kept here.
    get_delta_channel_history = BaseCheckpointSaver.get_delta_channel_history
    aget_delta_channel_history = BaseCheckpointSaver.aget_delta_channel_history

    def _with_staged(self, config: RunnableConfig, stored: CheckpointTuple | None) -> CheckpointTuple | None:
        """What is stored there, unless something newer is staged; with the staged writes."""
        namespace, wanted = config["configurable"].get("checkpoint_ns", ""), get_checkpoint_id(config)
        ids = [id_ for at, id_ in self._checkpoints if at == namespace and wanted in (None, id_)]
        if ids and (stored is None or max(ids) >= stored.checkpoint["id"]):
            at, checkpoint, metadata, parent = self._checkpoints[namespace, max(ids)]
            stored = CheckpointTuple(at, self.serde.loads_typed(checkpoint), metadata, parent, [])
        if stored is None:
            return None
        staged: list[PendingWrite] = [
            (task_id, channel, self.serde.loads_typed(value))
            for task_id, channel, value in self._writes.get((namespace, stored.checkpoint["id"]), [])
        ]
        return stored._replace(pending_writes=[*(stored.pending_writes or []), *staged])


def _config(thread_id: str, namespace: str, checkpoint_id: str) -> RunnableConfig:
    inner: Mapping[str, str] = {
        "thread_id": thread_id,
        "checkpoint_ns": namespace,
        "checkpoint_id": checkpoint_id,
    }
    return {"configurable": dict(inner)}
