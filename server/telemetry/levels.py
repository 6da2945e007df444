"""What there is at one moment of what the server has or waits for; `meters` has what was counted."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """The runs of all processes that wait or run; for how many seconds those wait that are due, if any.

    One is `unblocked` that waits for a free slot only, not for another run of its thread.
    """

    waiting: Mapping[str, int]  # by graph; delayed ones too
    running: int
    longest_wait: float | None = None
    median_wait: float | None = None
    longest_unblocked_wait: float | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """Threads or connections, as far as it is known: in use, at most, and how much work waits for one."""

    used: int
    size: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Levels:
    """What there is at one moment. `queue` is of all processes, None when the database does not tell."""

    executing: int  # runs
    slots: int
    logs: int
    log_bytes: int
    blocked: Mapping[str, float]  # graph -> seconds for which its event loop has not answered
    node_threads: Pool
    connections: Pool
    queue: Queue | None
