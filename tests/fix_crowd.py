"""Users who outlive servers: each starts one run after another and sees it through, whoever is killed.

In the background, on a stream, without a thread, or behind another run. They keep what they were told.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import wire
from fix_ledger import Ledger
from fix_server import Server, run_of

STEPS = (2, 12)  # of a run
PAUSE_SECONDS = (0.01, 0.1)  # of a step
NEXT_SERVER_SECONDS = 30.0


@dataclass
class Told:
    """What a user was told of a run."""

    path: str
    steps: int
    durability: str
    temporary: bool = False
    ended_at: float | None = None  # when its success had been seen, on the machine's monotonic clock
    connections: list[list[wire.Frame]] = field(default_factory=list)  # what its stream held

    @property
    def thread(self) -> str:
        return self.path.split("/")[2]

    @property
    def run(self) -> str:
        return self.path.split("/")[4]


class Stage:
    """The server of the moment."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.last = False  # this server will not be killed
        self._changed = threading.Condition()

    def enter(self, server: Server, *, last: bool = False) -> None:
        with self._changed:
            self.server, self.last = server, last
            self._changed.notify_all()

    @contextmanager
    def mortal(self) -> Iterator[Server]:
        """The server. When it dies, the rest of the block is left out, and after it there is another."""
        server = self.server
        try:
            yield server
        except (ConnectionError, wire.Closed):
            with self._changed:
                changed = self._changed.wait_for(lambda: self.server is not server, NEXT_SERVER_SECONDS)
            assert changed, "a server died that nobody killed"

    def refuses(self, status: int) -> bool:
        """Whether this is how a server says that it cannot answer now."""
        return False

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any] | None:
        """One try: (status, body), or None when the server died before it had answered."""
        with self.mortal() as server:
            response = server.request(method, path, body)
            text = response.body()
            if response.ended_by in ("cut", "reset") or self.refuses(response.status):
                raise wire.Closed
            return response.status, wire.json.loads(text) if text.strip() else None
        return None

    def get(self, path: str) -> tuple[int, Any]:
        """(status, body), from whichever server lives to give it."""
        while (answer := self.ask("GET", path)) is None:
            pass
        return answer


class User:
    """Starts runs until the last server is there."""

    def __init__(self, stage: Stage, ledger: Ledger, chance: random.Random) -> None:
        self._stage = stage
        self._ledger = ledger
        self._chance = chance
        self.threads: list[str] = []
        self.told: list[Told] = []

    def live(self) -> "User":
        kinds = [self._background, self._background, self._streamed, self._stateless]
        while not self._stage.last:
            for told in self._chance.choice(kinds)():
                self._see_through(told)
        return self

    # ---------------------------------------------------------------- starting
    def _new_thread(self) -> str | None:
        if (answer := self._stage.ask("POST", "/threads", {})) is None:
            return None
        assert answer[0] == 200, answer
        self.threads.append(answer[1]["thread_id"])
        return f"/threads/{self.threads[-1]}"

    def _body(self) -> dict[str, Any]:
        graph_input = self._ledger.input(self._chance.randint(*STEPS), self._chance.uniform(*PAUSE_SECONDS))
        durability = self._chance.choice(["sync", "sync", "async"])
        return {"assistant_id": "ledger", "input": graph_input, "durability": durability}

    def _acknowledged(self, path: str, body: dict[str, Any], *, temporary: bool = False) -> Told:
        told = Told(path, body["input"]["steps"], body["durability"], temporary)
        self.told.append(told)
        return told

    def _background(self) -> list[Told]:
        """A run in the background, and sometimes a second one that waits for it."""
        if (thread := self._new_thread()) is None:
            return []
        bodies = [self._body() for _ in range(self._chance.choice([1, 1, 2]))]
        answers = [(body, self._stage.ask("POST", f"{thread}/runs", body)) for body in bodies]
        assert all(answer is None or answer[0] == 200 for _, answer in answers), answers
        return [
            self._acknowledged(f"{thread}/runs/{answer[1]['run_id']}", body)
            for body, answer in answers
            if answer is not None
        ]

    def _stateless(self) -> list[Told]:
        body = self._body()
        if (answer := self._stage.ask("POST", "/runs", body)) is None:
            return []
        status, run = answer
        assert status == 200, answer
        return [self._acknowledged(f"/threads/{run['thread_id']}/runs/{run['run_id']}", body, temporary=True)]

    def _streamed(self) -> list[Told]:
        """A run whose stream is followed to its end, however often it is cut."""
        thread, body = self._new_thread(), self._body()
        told: Told | None = None
        while thread is not None:
            with self._stage.mortal() as server:
                if told is None:
                    stream = server.request("POST", f"{thread}/runs/stream", body)
                else:
                    stream = server.join(f"{told.path}/stream", _last_id(told))
                if self._stage.refuses(stream.status):
                    raise wire.Closed
                assert stream.status == 200
                told = told or self._acknowledged(run_of(stream), body)
                told.connections.append(stream.rest())
                if stream.ended_by == "last chunk":
                    return [told]
                raise wire.Closed
            if told is None:
                break
        return []

    # ---------------------------------------------------------------- seeing it through
    def _see_through(self, told: Told) -> None:
        """Wait for the end, which must be a success, and then the state can be read."""
        status, joined = self._stage.get(f"{told.path}/join")
        if told.temporary and status == 404:
            return
        assert status == 200, joined
        failure = joined.get("__error__", {})
        if told.temporary and failure.get("error") == "NotFound":
            return  # as above, of a run whose worker was killed when it had stored the end and not told it
        assert not failure, joined
        told.ended_at = time.monotonic()
        if told.temporary:
            return
        status, run = self._stage.get(told.path)
        assert (status, run["status"]) == (200, "success"), run
        _, state = self._stage.get(f"/threads/{told.thread}/state")
        assert state["values"]["done"][told.run] == told.steps


def _last_id(told: Told) -> str:
    """What the client has; -1 when it was cut before the first event: without an id it would join now."""
    return next((frames[-1].id for frames in reversed(told.connections) if frames), "-1")
