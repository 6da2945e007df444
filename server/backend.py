"""A running server without its doors: what they call, what they read, what limits them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .models import Json
from .services import Services
from .streaming.broker import Broker
from .streaming.sse import Rhythm


@dataclass(frozen=True, slots=True)
class Backend:
    """Made by `wiring`, used by every door; sizes in bytes, times in seconds."""

    services: Services
    broker: Broker
    graph_ids: Sequence[str]
    rhythm: Rhythm
    body_bytes_max: int
    send_timeout_seconds: float
    cors_allow_origins: tuple[str, ...]
    info: Json

    def close_streams(self) -> None:
        """Cut every open stream at once, so that its client resumes elsewhere."""
        self.broker.cut()
