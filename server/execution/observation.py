"""What this process can tell of itself: what it counted, and what there is at the moment (api/metrics)."""

from dataclasses import dataclass

from ..services.waiting import Waiting
from ..storage.database import Database
from ..streaming.broker import Broker
from ..telemetry.levels import Levels
from ..telemetry.meters import Meters
from .lanes import Lanes
from .worker import Worker


@dataclass(frozen=True, slots=True)
class Observation:
    """See `backend.Observed`. Everything is asked on the loop that serves."""

    meters: Meters
    worker: Worker
    lanes: Lanes
    broker: Broker
    database: Database
    waiting: Waiting

    async def levels(self) -> Levels:
        queue = await self.waiting.look()
        executing, slots = self.worker.slots
        logs, log_bytes = self.broker.held()
        return Levels(
            executing=executing,
            slots=slots,
            logs=logs,
            log_bytes=log_bytes,
            blocked=self.lanes.blocked(),
            node_threads=self.lanes.pool(),
            connections=self.database.pool(),
            queue=queue,
        )
