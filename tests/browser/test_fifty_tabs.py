"""Fifty tabs of a real Chromium at once, each as the React hook of protocol v2 is: two streams, a command."""

import json
from typing import Any

import pytest
from fix_browser import Open, Page
from fix_gate import Gate
from fix_server import RunningServer, Server
from fix_v2 import begin, new_id, run

KIB = 1024
TABS = 50
WORDS = [f"w{number} " for number in range(4)]
MUCH = {"messages": [{"role": "user", "content": "x" * 600_000}]}
# WebSockets, for a browser opens six connections to an address over HTTP/1.1 (contract/clients.md 2).
TAB = """
window.tabs = {};
window.openTab = (api, thread) => {
  const tab = (tabs[thread] = { said: "", ended: [], api, opened: 0 });
  const root = { channels: ["values", "checkpoints", "lifecycle", "input", "messages", "tools"] };
  const streams = [{ ...root, namespaces: [[]], depth: 1 }, { channels: ["lifecycle", "input"] }];
  tab.sockets = streams.map((params, number) => {
    const socket = new WebSocket(`${api.replace("http", "ws")}/threads/${thread}/stream/events`);
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: "subscription.subscribe", params }));
    socket.onmessage = ({ data }) => {
      const { type, method, params } = JSON.parse(data);
      if (type === "success") tab.opened++;
      const told = type === "event" && params.data;
      if (method === "lifecycle" && told.event !== "running") tab.ended.push(number);
      if (method === "messages" && told.delta) tab.said += told.delta.text;
      window.look?.();
    };
    return socket;
  });
};
window.command = (thread, params) => fetch(`${tabs[thread].api}/threads/${thread}/commands`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ id: 2, method: "run.start", params }),
}).then((answer) => answer.json());
window.until = (holds) => new Promise((resolve) => {
  window.look = () => Object.values(tabs).every(holds) && resolve(true);
  window.look();
  setTimeout(() => resolve(JSON.stringify(tabs, ["said", "ended", "opened"])), 30000);
});
"""


@pytest.fixture(scope="module")
def server(start_server: RunningServer) -> Server:
    return start_server(GRAPHWIRE_SEND_TIMEOUT_SECONDS="0.5")


@pytest.fixture
def page(open_page: Open) -> Page:
    page = open_page("blank")
    page.evaluate(TAB)
    return page


def until(page: Page, condition: str) -> None:
    assert (found := page.evaluate(f"until((tab) => {condition})")) is True, found


def said(words: list[str]) -> str:
    return f"tab.said === {json.dumps(''.join(words))}"


def test_the_streams_of_a_tab_take_little_memory(page: Page, start_server: RunningServer, gate: Gate) -> None:
    server = start_server()
    threads = [speaking(server, gate) for _ in range(TABS)]
    page.evaluate(f"openTab({server.url!r}, {threads[0]!r})")  # what the first one loads stays
    until(page, said(WORDS))
    before = server.resident_bytes()
    for thread in threads[1:]:
        page.evaluate(f"openTab({server.url!r}, {thread!r})")
    until(page, said(WORDS))
    each = (server.resident_bytes() - before) / (2 * (TABS - 1))
    assert each <= 60 * KIB


def test_each_tab_hears_each_word_and_the_end_whoever_else_does_not_read(
    page: Page, server: Server, gate: Gate
) -> None:
    lazy, reads_not = new_id(), {"channels": ["values"]}
    stuck = server.request("POST", f"/threads/{lazy}/stream/events", reads_not, receive_bytes=4096)
    inputs = {new_id(): gate.input() for _ in range(TABS)}
    for thread in inputs:
        page.evaluate(f"openTab({server.url!r}, {thread!r})")
    until(page, "tab.opened === 2")
    for thread, graph_input in inputs.items():
        params = json.dumps({"assistant_id": "gate", "input": graph_input})
        assert page.evaluate(f"command({thread!r}, {params})")["type"] == "success"
    speakers = [gate.node(graph_input) for graph_input in inputs.values()]
    for number, word in enumerate(WORDS):
        run(server, "chat", MUCH, lazy)
        for speaker in speakers:
            speaker.say(word)
        until(page, said(WORDS[: number + 1]))
    for speaker in speakers:
        speaker.finish()
    until(page, "tab.ended.length === 2")
    until(page, said(WORDS))
    assert b"".join(stuck.chunks())
    assert stuck.ended_by in ("cut", "reset")


def speaking(server: Server, gate: Gate) -> str:
    """A thread whose model has said something, and goes on."""
    thread, graph_input = new_id(), gate.input()
    begin(server, thread, "gate", graph_input)
    speaker: Any = gate.node(graph_input)
    for word in WORDS:
        speaker.say(word)
    return thread
