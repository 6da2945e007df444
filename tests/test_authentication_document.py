"""docs/authentication.md: its code runs as it stands."""

import json
import re
from pathlib import Path

from fix_auth import bearer
from fix_fork import REPO
from fix_server import RunningServer, Server

DOCUMENT = (REPO / "docs" / "authentication.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def served(start_server: RunningServer, folder: Path, auth: object, **env: str) -> Server:
    graph = REPO / "tests" / "graphs" / "echo.py"
    (folder / "agent.py").write_text(graph.read_text())
    (folder / "langgraph.json").write_text(
        json.dumps({"graphs": {"agent": "./agent.py:graph"}, "auth": auth})
    )
    return start_server(folder / "langgraph.json", **env)


def test_the_python_of_the_document_authenticates_and_authorises(
    start_server: RunningServer, tmp_path: Path
) -> None:
    first, second = blocks("python")
    (tmp_path / "auth.py").write_text(first + second)
    auth = json.loads(blocks("json")[0])["auth"]
    server = served(start_server, tmp_path, auth)
    alice = bearer("a-secret-of-alice")
    made = server.request("POST", "/threads", {}, headers=alice).json()
    assert made["metadata"] == {"owner": "alice"}
    path = f"/threads/{made['thread_id']}"
    assert (
        server.request("POST", "/runs/wait", {"assistant_id": "agent", "input": {}}, headers=alice).status
        == 200
    )
    assert server.request("DELETE", path, headers=alice).status == 403  # for admins only
    assert server.request("GET", path, headers=alice).status == 200
    refused = server.request("GET", path)
    assert (refused.status, refused.json()) == (401, {"detail": "Who are you?"})


def test_the_keys_of_the_document_are_keys(start_server: RunningServer, tmp_path: Path) -> None:
    found = re.search(r"GRAPHWIRE_API_KEYS='(.*?)'", blocks("bash")[0], re.DOTALL)
    assert found is not None
    server = served(start_server, tmp_path, None, GRAPHWIRE_API_KEYS=found[1])
    for key in ("a-long-secret-of-alice", "a-key-that-ci-has"):
        assert server.request("POST", "/threads", {}, headers={"x-api-key": key}).status == 200
    assert server.request("POST", "/threads", {}).status == 401
