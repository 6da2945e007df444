"""The two sources of chance, in one place so that tests can replace them: the time and new ids."""

import os
import time
from datetime import UTC, datetime
from uuid import UUID


def now() -> str:
    """The time as the wire shows it: ISO 8601, UTC, microseconds (contract/runs.md 1). Sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def seconds() -> float:
    """The time in seconds since 1970."""
    return time.time()


def after(seconds: float) -> str:
    """The time `seconds` from now, in the form of `now()`."""
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat(timespec="microseconds")


def new_id() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then chance. Ids of runs and threads sort by age."""
    value = int(time.time() * 1000) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(3 << 62) | 2 << 62
    return str(UUID(int=value))
