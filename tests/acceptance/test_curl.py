"""The mission, as a user of curl meets it."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest
from fix_openai import Conversation
from fix_server import Server
from wire import Frame, Frames


@pytest.fixture
def curl(server: Server, topic: str, model: Conversation) -> Iterator[subprocess.Popen[bytes]]:
    url = f"{server.url}/threads/{server.new_thread()}/runs/stream"
    body = {"assistant_id": "agent", "input": {"topic": topic}, "stream_mode": "messages-tuple"}
    command = [
        "curl",
        "-N",
        "-sS",
        "-X",
        "POST",
        url,
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        yield process
        process.kill()


class Output:
    """What curl printed, event by event."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._descriptor = process.stdout.fileno()
        self._frames = Frames()
        self._ready: list[Frame] = []

    def next(self) -> Frame | None:
        while not self._ready:
            if not (data := os.read(self._descriptor, 65536)):
                return None
            self._ready += self._frames.feed(data)
        return self._ready.pop(0)


def test_curl_prints_each_word_while_the_model_is_still_speaking(
    curl: subprocess.Popen[bytes], model: Conversation
) -> None:
    output = Output(curl)
    metadata = output.next()
    assert metadata
    assert metadata.event == "metadata"
    for word in ("Why", " did", " the", " ice", " melt?"):
        model.say(word)
        frame = output.next()
        while frame and frame.data[0]["content"] == "":  # OpenAI opens with an empty chunk
            frame = output.next()
        assert frame
        assert (frame.event, frame.data[0]["content"]) == ("messages", word)
    model.finish()
    while frame := output.next():
        assert (frame.event, frame.data[0]["content"]) == ("messages", "")
    assert curl.wait(timeout=30) == 0


def test_curl_gets_a_readable_error_for_an_unknown_thread(server: Server) -> None:
    url = f"{server.url}/threads/00000000-0000-0000-0000-000000000001/runs/stream"
    body = ["-H", "Content-Type: application/json", "-d", '{"assistant_id": "agent"}']
    command = ["curl", "-sS", "-w", "%{http_code}", url, *body]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert answer.endswith(b"404")
    assert "not found" in json.loads(answer[:-3])["detail"]
