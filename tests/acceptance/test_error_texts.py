"""What clients learn of a graph's exceptions: the text on the developer's machine, the class on a network."""

import json
from pathlib import Path

import wire
from fix_cli import Start, start, url_of

__all__ = ["start"]

GRAPH = """
from langgraph.graph import START, StateGraph

def node(state):
    raise ValueError("cannot reach postgresql://user:s3cret@db")

graph = StateGraph(dict).add_node(node).add_edge(START, "node").compile()
"""


def told(folder: Path, start: Start, *flags: str, **env: str) -> str:
    """All that a client gets to see of a run that fails: its stream, its result, itself."""
    (folder / "failing.py").write_text(GRAPH)
    config = folder / "langgraph.json"
    config.write_text('{"graphs": {"failing": "./failing.py:graph"}}')
    port = int(url_of(start("serve", "--config", config, "--port", "0", *flags, **env)).rsplit(":", 1)[1])

    def ask(method: str, path: str, body: object = None) -> str:
        return wire.request(port, method, path, body).body().decode()

    thread = json.loads(ask("POST", "/threads", {}))["thread_id"]
    run = {"assistant_id": "failing", "input": {}}
    texts = [ask("POST", f"/threads/{thread}/runs/{how}", run) for how in ("stream", "wait")]
    texts += [ask("GET", f"/threads/{thread}/runs"), ask("GET", f"/threads/{thread}")]
    assert all("ValueError" in text for text in texts[:2])
    return "".join(texts)


def test_a_server_for_the_network_keeps_the_texts_to_itself(tmp_path: Path, start: Start) -> None:
    assert "s3cret" not in told(tmp_path, start, "--host", "0.0.0.0")


def test_a_server_on_loopback_tells_its_developer(tmp_path: Path, start: Start) -> None:
    assert "s3cret" in told(tmp_path, start)


def test_a_setting_decides_otherwise(tmp_path: Path, start: Start) -> None:
    assert "s3cret" in told(tmp_path, start, "--host", "0.0.0.0", GRAPHWIRE_ERROR_TEXT="known")
