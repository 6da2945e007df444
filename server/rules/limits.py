"""How much one caller may ask of this process: requests a second, and requests at the same time."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

CALLERS_MAX = 10_000  # whose last requests are remembered; who was silent longest is forgotten first


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one caller; 0 is no limit. `burst`: how many may come at once after a silence."""

    per_second: float = 0
    burst: int = 1
    at_once: int = 0

    @property
    def any(self) -> bool:
        return bool(self.per_second or self.at_once)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in, and after how many whole seconds it may be made again."""

    limit: str
    text: str
    seconds: int = 1


class Turnstile:
    """Lets requests in and out. A leaky bucket a caller, kept as the time when it will be empty."""

    def __init__(self, limits: RequestLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._empty_at: OrderedDict[str, float] = OrderedDict()
        self._inside: Counter[str] = Counter()

    def enter(self, who: str) -> Refusal | None:
        """Let a request in, or say why not. Who was let in must leave."""
        limits = self._limits
        if limits.at_once and self._inside[who] >= limits.at_once:
            text = f"{limits.at_once} of your requests are under way; try again later"
            return Refusal("at_once", text)
        if limits.per_second and (wait := self._wait(who)) > 0:
            text = f"More than {limits.per_second:g} requests a second; try again in {math.ceil(wait)} s"
            return Refusal("rate", text, math.ceil(wait))
        self._inside[who] += 1
        return None

    def leave(self, who: str) -> None:
        self._inside[who] -= 1
        if self._inside[who] <= 0:
            del self._inside[who]

    def _wait(self, who: str) -> float:
        """Seconds until there is room for one more request; 0: there is, and it is taken."""
        now, each = self._clock(), 1 / self._limits.per_second
        empty_at = max(self._empty_at.get(who, now), now) + each
        wait = empty_at - now - self._limits.burst * each
        if wait > 1e-9:
            return wait
        self._empty_at[who] = empty_at
        self._empty_at.move_to_end(who)
        if len(self._empty_at) > CALLERS_MAX:
            self._empty_at.popitem(last=False)
        return 0.0
