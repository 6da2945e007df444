"""A cache for the code of graphs, behind langgraph_sdk.cache: JSON in memory, bounded by bytes and age.

Its promises are those in the docstrings of langgraph_sdk.cache. There is one for the whole process, and any
of its threads and loops may use it.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, Literal, TypeVar

import orjson
import structlog

T = TypeVar("T")
_log = structlog.get_logger(__name__)

AGE_MAX = timedelta(days=1)
BYTES_MAX = 64 * 2**20
ENTRY_BYTES = 256  # what an entry costs beside its key and value

Status = Literal["miss", "fresh", "stale", "expired"]


@dataclass(frozen=True, slots=True)
class _Entry:
    data: bytes
    stored_at: float
    expires_at: float


class SWRResult(Generic[T]):
    """What `swr` found: the value, and how it was found."""

    def __init__(self, value: T, status: Status, reload: Callable[[], Awaitable[T]], store: Any) -> None:
        self.value = value
        self.status = status
        self._reload = reload
        self._store = store

    async def mutate(self, value: Any = ...) -> T:
        """Replace the cached value, without one by what the loader gives now."""
        if value is ...:
            self.value = await self._reload()
        else:
            self._store(value)
            self.value = value
        self.status = "fresh"
        return self.value


class Cache:
    """Keys and JSON values. The least recently used go when there are too many bytes."""

    def __init__(self, bytes_max: int = BYTES_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_max = bytes_max
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._refreshing: dict[str, asyncio.Task[Any]] = {}

    async def get(self, key: str) -> Any | None:
        """A copy of the value; None when there is none or its time is over."""
        entry = self._find(key)
        return orjson.loads(entry.data) if entry and self._clock() < entry.expires_at else None

    async def set(self, key: str, value: Any, ttl: timedelta | None = None) -> None:
        """Keep a value for `ttl`, at most and by default a day. Raises TypeError for what is no JSON.

        Raises ValueError for a negative `ttl` and for a value larger than the whole cache.
        """
        self._put(key, value, ttl or AGE_MAX)

    async def swr(
        self,
        key: str,
        loader: Callable[[], Awaitable[T]],
        *,
        fresh_for: timedelta,
        max_age: timedelta,
        model: Any = None,
    ) -> SWRResult[T]:
        """The cached value, at once where it is not too old; a stale one is loaded anew in the background.

        With a pydantic `model` values are its instances, kept as JSON.
        """

        def store(value: Any) -> None:
            self._put(key, value.model_dump(mode="json") if model else value, max_age)

        async def load() -> T:
            value = await loader()
            store(value)
            return value

        entry = self._find(key)
        age = self._clock() - entry.stored_at if entry else 0.0
        if entry is None or age >= min(max_age, AGE_MAX).total_seconds():
            return SWRResult(await load(), "expired" if entry else "miss", load, store)
        status: Status = "fresh" if age < fresh_for.total_seconds() else "stale"
        if status == "stale":
            self._refresh(key, load)
        found = orjson.loads(entry.data)
        return SWRResult(model.model_validate(found) if model else found, status, load, store)

    def _refresh(self, key: str, load: Callable[[], Awaitable[Any]]) -> None:
        """Load in the background, one at a time for each key."""
        if key in self._refreshing:
            return

        async def work() -> None:
            try:
                await load()
            except Exception:  # the old value stays; the next reader tries again
                _log.warning("could not refresh a cached value", key=key, exc_info=True)

        task = self._refreshing[key] = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(lambda _: self._refreshing.pop(key, None))

    def _find(self, key: str) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def _put(self, key: str, value: Any, ttl: timedelta) -> None:
        if ttl < timedelta(0):
            raise ValueError("the time to keep a value must not be negative")
        now = self._clock()
        entry = _Entry(orjson.dumps(value), now, now + min(ttl, AGE_MAX).total_seconds())
        if _size(key, entry) > self._bytes_max:
            raise ValueError(f"a value of {len(entry.data)} bytes is larger than the cache")
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self._bytes += _size(key, entry)
            while self._bytes > self._bytes_max:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(key, entry)


def _size(key: str, entry: _Entry) -> int:
    return len(key) + len(entry.data) + ENTRY_BYTES
