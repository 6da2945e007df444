"""Who waits for a database, and how it is known that it is away."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ..errors import StorageUnavailable
from .database import Tx

T = TypeVar("T")
FORGOTTEN_SECONDS = 5.0


class Reach:
    """Since when a database has been away; for all who use it, on any thread."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._failed_at = 0.0

    def there(self) -> None:
        """It answered."""
        self._since = None

    def away(self) -> float:
        """It did not; for how many seconds that has been so."""
        now = time.monotonic()
        unheard = now - self._failed_at > FORGOTTEN_SECONDS  # nobody asked since: it may have been there
        since = now if unheard or self._since is None else self._since
        self._since, self._failed_at = since, now
        return now - since


class Turn(Generic[T]):
    """A unit of work that is given up if it has not begun in time; then it never does."""

    def __init__(self, work: Callable[[Tx], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._begun = self._over = False

    def __call__(self, tx: Tx) -> T:
        with self._lock:
            if self._over:
                raise StorageUnavailable
            self._begun = True
        return self._work(tx)

    def give_up(self) -> bool:
        """Whether it is given up; False: it has begun."""
        with self._lock:
            self._over = not self._begun
            return self._over
