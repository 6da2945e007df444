"""Those who watch this process: what is counted for them, and traced."""

from dataclasses import dataclass

from .meters import Meters
from .tracing import Tracing


@dataclass(frozen=True, slots=True)
class Watching:
    """None: nobody does."""

    meters: Meters | None
    tracing: Tracing | None
