"""docs/clients.md: every block of code runs as it stands, and prints or shows what the graph says."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_browser import PAGES, Open, bundle
from fix_server import REPO, RunningServer, Server
from langgraph_sdk import get_sync_client
from langgraph_sdk.client import SyncLangGraphClient

DOCUMENT = REPO / "docs" / "clients.md"
ADDRESS = "http://localhost:8123"
SAID = "The tool says:"
SECONDS_MAX = 60
MOUNT = """
import { createRoot } from "react-dom/client";
createRoot(document.body.appendChild(document.createElement("div"))).render(<Chat />);
"""


@dataclass(frozen=True)
class Block:
    """A block of code under the heading of its client."""

    heading: str
    language: str
    code: str


def blocks() -> list[Block]:
    found, heading = [], ""
    for match in re.finditer(
        r"^## ([^\n]*)$|^```(\w+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    ):
        heading = match[1] or heading
        if match[2] and match[2] != "json":
            found.append(Block(heading, match[2], match[3]))
    return found


def of(*languages: str) -> Any:
    """Run a test for each block in one of these languages."""
    chosen = [block for block in blocks() if block.language in languages]
    return pytest.mark.parametrize("block", [pytest.param(block, id=block.heading) for block in chosen])


@pytest.fixture(scope="module")
def samples(start_server: RunningServer) -> Server:
    """The graphs that the document speaks of."""
    return start_server(REPO / "langgraph.json", OFFLINE_MODEL_PAUSE="0")


COMMANDS = {
    "python": ([sys.executable, "-"], REPO),
    "js": (["node", "--input-type=module"], PAGES),
    "sh": (["bash", "-eu"], REPO),
}


@of(*COMMANDS)
def test_what_a_user_writes_works(samples: Server, block: Block) -> None:
    command, folder = COMMANDS[block.language]
    code = block.code.replace(ADDRESS, samples.url)
    done = subprocess.run(
        command, input=code, cwd=folder, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SAID in done.stdout


@of("jsx")
def test_what_a_user_of_react_writes_works(
    samples: Server, open_page: Open, pages_folder: Path, block: Block
) -> None:
    name = re.sub(r"\W+", "-", block.heading).lower()
    entry = pages_folder / f"{name}.jsx"
    entry.write_text(block.code.replace(ADDRESS, samples.url) + MOUNT)
    bundle([entry], pages_folder)
    page = open_page(name)
    page.until_text("button", "Ask")
    page.evaluate("document.querySelector('button').click()")
    page.until_text("body", SAID)


@of("html")
def test_what_a_user_of_a_browser_writes_works(
    samples: Server, open_page: Open, pages_folder: Path, block: Block
) -> None:
    (pages_folder / "plain.html").write_text(block.code.replace(ADDRESS, samples.url))
    open_page("plain").until_text("#answer", SAID)


def test_the_document_has_a_block_for_each_way_to_write_a_client() -> None:
    assert {block.language for block in blocks()} == {"python", "js", "jsx", "sh", "html"}


@pytest.fixture(scope="module")
def client(samples: Server) -> SyncLangGraphClient:
    return get_sync_client(url=samples.url, api_key=None)


def test_chat_pages_find_their_threads_by_the_graph(client: SyncLangGraphClient) -> None:
    """As agent-chat-ui and deep-agents-ui fill their lists (contract/clients.md 6, 7.2)."""
    thread = client.threads.create()["thread_id"]
    client.runs.wait(thread, "tools", input={"messages": [{"role": "user", "content": "a joke about ice"}]})
    assistant = client.assistants.search(graph_id="tools")[0]["assistant_id"]
    for metadata in ({"graph_id": "tools"}, {"assistant_id": assistant}):
        found = client.threads.search(metadata=metadata, limit=100, sort_by="updated_at", sort_order="desc")
        listed = next(each for each in found if each["thread_id"] == thread)
        assert listed["values"]["messages"][0]["content"] == "a joke about ice"  # type: ignore[index]


def test_an_inbox_lists_questions_and_answers_or_ignores_them(client: SyncLangGraphClient) -> None:
    """As agent-inbox does (contract/clients.md 7.3)."""
    asked = {}
    for topic in ("ice", "sand"):
        thread = client.threads.create()["thread_id"]
        client.runs.wait(thread, "interrupt", input={"topic": topic})
        asked[topic] = thread
    found = client.threads.search(status="interrupted", metadata={"graph_id": "interrupt"})
    listed = {each["thread_id"]: each["interrupts"] for each in found}
    assert set(asked.values()) <= set(listed)
    (question,) = next(iter(listed[asked["ice"]].values()))
    assert question["value"]["question"] == "Publish this joke?"
    client.runs.wait(asked["ice"], "interrupt", command={"resume": True})
    client.threads.update_state(asked["sand"], None, as_node="__end__")
    assert {client.threads.get(thread)["status"] for thread in asked.values()} == {"idle"}
