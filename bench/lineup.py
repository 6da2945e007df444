"""The three subjects of a run of the bench, and how they take turns: noise hits all of them alike."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from .floor_process import Floor
from .processes import Subject
from .stats import Figure

T = TypeVar("T")
Measure = Callable[[], Awaitable[T]]
Starter = Callable[[], AbstractAsyncContextManager[Subject]]
FloorStarter = Callable[[], AbstractAsyncContextManager[Floor]]


@dataclass(frozen=True, slots=True)
class Lineup:
    """Who is measured. `graphwire` is None when only the baselines are wanted."""

    graphwire: Subject | None
    bare: Subject
    floor: Floor
    start_graphwire: Starter | None  # None: the server is not ours to start
    start_bare: Starter
    start_floor: FloorStarter
    quick: bool = False

    def measures(
        self, server: Callable[[Subject], Awaitable[T]], floor: Measure[T] | None = None
    ) -> dict[str, Measure[T]]:
        """The same measure for each subject that there is."""
        subjects = {"graphwire": self.graphwire, "bare": self.bare}
        lineup: dict[str, Measure[T]] = {
            name: (lambda subject=subject: server(subject))  # type: ignore[misc]
            for name, subject in subjects.items()
            if subject is not None
        }
        return {**lineup, **({"floor": floor} if floor else {})}

    @asynccontextmanager
    async def fresh_graphwire(self) -> AsyncIterator[Subject | None]:
        """A server that has done nothing yet; the given one when it is not ours to start."""
        if self.start_graphwire is None:
            yield self.graphwire
            return
        async with self.start_graphwire() as subject:
            yield subject


async def interleave(measures: Mapping[str, Measure[T]], rounds: int) -> dict[str, list[T]]:
    """A B C A B C …, so that a noisy minute is shared."""
    results: dict[str, list[T]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            results[name].append(await measure())
    return results


def figures(results: Mapping[str, list[float]]) -> dict[str, Figure]:
    return {name: Figure.over(rounds) for name, rounds in results.items()}
