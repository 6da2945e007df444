"""The listener, without graphs: a small app in a process of its own, and the signals that end it."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PROGRAM = """
import asyncio, sys, threading, time
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from sse_starlette import EventSourceResponse
from server import loops
from server.serving import server as serving

closing = asyncio.Event()

async def ok(request):
    return JSONResponse({})

async def parts(request):
    return StreamingResponse(iter([b"one ", b"two"]))

async def never(request):
    await asyncio.sleep(3600)

async def stream(request):
    async def events():
        yield b": open\\r\\n\\r\\n"
        await closing.wait()
        raise ConnectionAbortedError
    return EventSourceResponse(events(), ping=0)

async def drain():
    closing.set()

async def main():
    app = Starlette(routes=[Route(f"/{f.__name__}", f) for f in (ok, parts, never, stream)])
    server = serving.Server(app, on_ready=lambda: print(sock.getsockname()[1], flush=True))
    serving.end_on_signals(server, drain)
    await server.serve([sock])
    serving.exit_soon()

if "thread" in sys.argv:
    threading.Thread(target=time.sleep, args=(3600,)).start()
sock = serving.listen("127.0.0.1", 0)
with asyncio.Runner(loop_factory=loops.make) as runner:
    runner.run(main())
"""


class Served:
    """The process of the small app."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def open(self, path: str) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        return connection

    def status_after(self, *signals: signal.Signals) -> int:
        for number in signals:
            self.process.send_signal(number)
            # The first must have begun the end before the second comes: then nobody listens any more.
            self._until_closed()
        return self.process.wait(timeout=30)

    def _until_closed(self) -> None:
        while True:
            try:
                self.open("/ok").close()
            except OSError:
                return
            time.sleep(0.01)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(*getattr(request, "param", ()))
    yield served
    served.process.kill()
    served.process.wait()


def test_an_open_stream_is_cut_and_does_not_hold_up_the_end(served: Served) -> None:
    response = served.open("/stream").getresponse()
    assert response.readline() == b": open\r\n"
    assert served.status_after(signal.SIGTERM) == 0
    # Cut and not ended: clients take a clean end for the whole answer and resume only after a cut.
    with pytest.raises(http.client.IncompleteRead):
        response.read()


def test_a_second_signal_ends_the_process_at_once(served: Served) -> None:
    served.open("/never")
    served.open("/ok").getresponse()  # answered, so the request before it has been taken too
    assert served.status_after(signal.SIGTERM, signal.SIGTERM) == 128 + signal.SIGTERM


def test_a_request_that_never_ends_does_not_keep_the_server_alive(served: Served) -> None:
    served.open("/never")
    served.open("/ok").getresponse()
    assert served.status_after(signal.SIGTERM) == 0


@pytest.mark.parametrize("served", [("thread",)], indirect=True)
def test_a_thread_that_never_returns_does_not_keep_the_process_alive(served: Served) -> None:
    assert served.status_after(signal.SIGTERM) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_of_http_1_0_gets_a_body_without_chunks(served: Served, method: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as sock:
        sock.sendall(f"{method} /parts HTTP/1.0\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: sock.recv(65536), b"")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert b"connection: close" in head.lower()
    assert body == (b"one two" if method == "GET" else b"")


def test_answers_do_not_name_the_server_software(served: Served) -> None:
    response = served.open("/ok").getresponse()
    assert response.getheader("server") is None
    assert response.getheader("date") is not None
