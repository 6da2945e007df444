"""Plain EventSource in a real Chromium, on a page of another origin: no package, no framework."""

from typing import Any

import pytest
from fix_browser import Open, Page
from fix_cutter import Cut, MakeCutter
from fix_gate import Gate, Node
from fix_server import Server

# What a person writes, and a list of what came. The name `error` is EventSource's own too: ours has data.
LISTEN = """
window.heard = [];
window.source = new EventSource(%r, { withCredentials: false });
for (const name of ["metadata", "messages", "values", "error"]) {
  source.addEventListener(name, (event) => {
    if (event.data) heard.push([name, JSON.parse(event.data), event.lastEventId]);
    window.look?.();
  });
}
"""
UNTIL = """
new Promise((done) => {
  window.look = () => (%s) && done(heard);
  window.look();
  setTimeout(done, 15000);
})
"""


class Heard:
    """An EventSource on a blank page."""

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        page.evaluate(LISTEN % url)

    def until(self, condition: str) -> list[list[Any]]:
        heard = self._page.evaluate(UNTIL % condition)
        assert heard is not None, (
            f"not {condition}: {self._page.evaluate('[source.readyState, heard.at(-1)]')}"
        )
        return list(heard)

    def tokens(self, count: int) -> list[str]:
        events = self.until(f"heard.filter(([name]) => name === 'messages').length >= {count}")
        return [data[0]["content"] for name, data, _ in events if name == "messages"]

    def all(self) -> list[list[Any]]:
        """Everything, once the source has stopped for good: it would come back by itself after a mere end."""
        return self.until("source.readyState === EventSource.CLOSED")


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page("blank")


def started(server: Server, gate: Gate) -> tuple[str, Node]:
    """A run in the background, and its model; the path of its stream."""
    graph_input, thread = gate.input(), server.new_thread()
    body = {"assistant_id": "gate", "input": graph_input, "stream_mode": ["messages-tuple", "values"]}
    run = server.post(f"/threads/{thread}/runs", body)
    return f"/threads/{thread}/runs/{run['run_id']}/stream", gate.node(graph_input)


def test_a_page_hears_a_run_from_its_beginning_to_its_end_and_stops(
    page: Page, server: Server, gate: Gate
) -> None:
    path, speaker = started(server, gate)
    speaker.say("one ")
    heard = Heard(page, f"{server.url}{path}?last_event_id=-1")
    assert heard.tokens(1) == ["one "]
    speaker.say("two")
    assert heard.tokens(2) == ["one ", "two"]
    speaker.finish()
    events = heard.all()
    assert [data[0]["content"] for name, data, _ in events if name == "messages"][:2] == ["one ", "two"]
    assert events[-1][1]["out"] == "one two"
    ids = [event_id for *_, event_id in events]
    assert len(set(ids)) == len(ids)


def test_a_run_that_has_failed_is_told_of_and_not_asked_for_again(
    page: Page, server: Server, gate: Gate
) -> None:
    path, speaker = started(server, gate)
    heard = Heard(page, f"{server.url}{path}?last_event_id=-1")
    speaker.fail("model exploded")
    events = heard.all()
    assert (events[-1][0], events[-1][1]["message"]) == ("error", "model exploded")


def test_a_run_that_is_long_over_is_answered_with_nothing(page: Page, server: Server, gate: Gate) -> None:
    path, speaker = started(server, gate)
    speaker.say("x")
    speaker.finish()
    whole = server.join(path, "-1").rest()
    assert Heard(page, f"{server.url}{path}?last_event_id={whole[-1].id}").all() == []
    assert server.request("GET", f"{path}?last_event_id={whole[-1].id}").status == 204
    assert server.join(path, whole[-1].id).status == 200  # the SDKs ask like this, and take 204 for a failure


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_cut_stream_goes_on_after_the_last_event_that_was_heard(
    page: Page, server: Server, gate: Gate, proxy_to: MakeCutter, how: Any
) -> None:
    path, speaker = started(server, gate)
    proxy = proxy_to(server.port)
    proxy.plan(Cut(700, how), Cut(1500, how))
    heard = Heard(page, f"{proxy.url}{path}?last_event_id=-1")
    words = [f"w{number} " for number in range(10)]
    for word in words:
        speaker.say(word)
    assert heard.tokens(10) == words
    speaker.finish()
    events = heard.all()
    assert proxy.made == 2
    assert [[name, data, id_] for name, data, id_ in events] == [
        [frame.event, frame.data, frame.id] for frame in server.join(path, "-1").rest()
    ]


def test_the_stream_of_a_thread_goes_on_over_its_runs(page: Page, server: Server) -> None:
    thread = server.new_thread()
    for number in range(2):
        server.wait("echo", {"x": number}, thread, stream_mode="values")
    heard = Heard(page, f"{server.url}/threads/{thread}/stream?last_event_id=-")
    ended = "heard.filter(([name, data]) => name === 'metadata' && data.status === 'run_done').length"
    heard.until(f"{ended} === 2")
    server.wait("echo", {"x": 2}, thread, stream_mode="values")
    heard.until(f"{ended} === 3")
    server.request("DELETE", f"/threads/{thread}").body()
    heard.all()  # 404 when it comes back: EventSource stops
