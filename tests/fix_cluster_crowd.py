"""Users of a cluster, while its parts die or are out of reach: any API process will do for them."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import wire
from fix_cluster import Cluster
from fix_crowd import Stage, Told, User
from fix_ledger import Ledger, Step, overlapping
from fix_rows import Rows, ran_twice_at_once
from fix_server import Server, eventually

AGAIN_SECONDS = 0.1
ANSWER_SECONDS = 6.0  # the longest that a request may take that is refused
END_SECONDS = 30.0  # in which every run ends when all is well again (reliability D3)


class Doors(Stage):
    """The API processes: whoever asks comes to one of them, and to another when that is gone."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        super().__init__(cluster.servers[0])
        self._cluster = cluster
        self._chance = chance
        self._over = threading.Event()
        self.closed = False  # nobody is to wait for an end that will not come
        self.refusals: list[float] = []  # how long each took to be given

    @contextmanager
    def mortal(self) -> Iterator[Server]:
        began = time.monotonic()
        assert not self.closed, "the trouble does not end"
        try:
            yield self._chance.choice(self._cluster.servers)
        except (ConnectionError, wire.Closed) as failure:
            if isinstance(failure, Refused):
                self.refusals.append(time.monotonic() - began)
            self._over.wait(AGAIN_SECONDS)

    def refuses(self, status: int) -> bool:
        if status == 503:
            raise Refused
        return False

    def close(self) -> None:
        """Users finish what they have begun."""
        self.last = True


class Refused(wire.Closed):
    """503: try again later."""


@dataclass(frozen=True)
class Story:
    """What became of it all."""

    cluster: Cluster
    users: list[User]
    steps: list[Step]
    deaths: dict[int, float] = field(default_factory=dict)  # process -> when it was dead
    refusals: list[float] = field(default_factory=list)

    @property
    def told(self) -> list[Told]:
        return [told for user in self.users for told in user.told]

    @property
    def rows(self) -> Rows:
        return self.cluster.rows


def live_through(
    cluster: Cluster,
    ledger: Ledger,
    users: int,
    seed: int,
    trouble: Callable[[threading.Event], dict[int, float]],
) -> Story:
    """Users start runs and see them through, while there is trouble and after it.

    `trouble` is told when a user has failed, and returns who died of it.
    """
    doors, failed = Doors(cluster, random.Random(seed)), threading.Event()
    crowd = [User(doors, ledger, random.Random(f"{seed} {number}")) for number in range(users)]
    with ThreadPoolExecutor(users) as pool:
        living = [pool.submit(user.live) for user in crowd]
        for user in living:
            user.add_done_callback(lambda _: failed.set())
        try:
            deaths = trouble(failed)
        except BaseException:
            doors.closed = True
            raise
        finally:
            doors.close()
    # What was admitted in the moment of a kill is nobody's, and runs all the same.
    eventually(lambda: cluster.rows.active() == [], END_SECONDS)
    return Story(cluster, [user.result() for user in living], ledger.steps(), deaths, doors.refusals)


# ---------------------------------------------------------------- what must hold
def check(story: Story) -> None:
    """No run lost, none twice at once, no thread left busy, and everybody knows what became of theirs."""
    ends = story.rows.ask("SELECT status, count(*) FROM runs GROUP BY status")
    assert [status for status, _ in ends] == ["success"], ends
    assert story.rows.ask("SELECT DISTINCT status FROM threads") == [("idle",)]
    assert story.rows.contradictions() == []
    assert ran_twice_at_once(story.rows.history()) == []
    assert overlapping(story.steps, story.deaths) == []
    threads = {thread for (thread,) in story.rows.ask("SELECT thread_id FROM threads")}
    runs = {run for (run,) in story.rows.ask("SELECT run_id FROM runs")}
    assert {thread for user in story.users for thread in user.threads} <= threads
    assert {told.run for told in story.told if not told.temporary} <= runs
    for told in story.told:
        done = {
            step.number for step in story.steps if step.run == told.run and step.ended and not step.cancelled
        }
        assert done == set(range(told.steps)), told
        assert told.ended_at is not None or told.temporary, told
        late = [step for step in story.steps if step.run == told.run and step.began > (told.ended_at or 1e99)]
        assert late == [], told
        check_heard(told)


def check_heard(told: Told) -> None:
    """A client got every event, or was told that an attempt began anew, or that events are gone."""
    frames = [frame for frames in told.connections for frame in frames]
    ids = [frame.order for frame in frames if frame.event != "error"]
    assert ids == sorted(set(ids)), told
    attempt, done, gap = 0, 0, False
    for frame in frames:
        if frame.event == "error":
            assert frame.data["error"] == "EventsExpired", frame
            gap = True
        elif frame.event == "metadata":
            assert frame.data["attempt"] > attempt, (told, frame)
            attempt, gap = frame.data["attempt"], True  # from where it goes on it says itself
        else:
            assert frame.event == "values", frame
            now = frame.data.get("done", {}).get(told.run, 0)
            assert gap or now - done in (0, 1), (told, frame)
            done, gap = now, False
    if told.connections:
        assert done == told.steps or gap, told


def restarts_heard(story: Story) -> int:
    """How often somebody learned from a stream that an attempt had begun anew."""
    return sum(
        frame.event == "metadata" and frame.data["attempt"] > 1
        for told in story.told
        for frame in itertools.chain(*told.connections)
    )
