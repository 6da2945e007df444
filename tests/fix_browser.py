"""A real Chromium without a screen, driven over the DevTools protocol, and the pages that it opens.

The pages are bundled once from browser/pages with the packages from npm, and served from an origin of their
own: whatever they ask of the server crosses origins, as it does in life.
"""

import functools
import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.sync.client import ClientConnection, connect

PAGES = Path(__file__).parent / "browser" / "pages"
# Without those about the background Chromium looks for its maker's hosts at every start.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]
START_SECONDS = 60.0
WAIT_SECONDS = 15.0

# Resolves when the page comes to show what is wanted: it is looked at after each change and never in between.
UNTIL = """
new Promise((resolve) => {
  const shown = () => {
    const main = document.querySelector("main");
    const text = (selector) => document.querySelector(selector)?.textContent ?? null;
    const messages = [...document.querySelectorAll("#messages > li")];
    return main && {
      messages: messages.map((item) => [item.dataset.type, item.textContent]),
      ids: messages.map((item) => item.dataset.id),
      calls: messages.map((item) => item.dataset.calls).filter(Boolean),
      question: JSON.parse(text("#question")),
      error: text("#error"),
      values: JSON.parse(text("#values") || "null"),
      loading: main.dataset.loading === "true",
      thread: main.dataset.thread,
      namespaces: main.dataset.namespaces.split(",").filter(Boolean),
    };
  };
  const holds = (s) => %s;
  let watcher;
  const look = () => {
    const s = shown();
    if (!s || !holds(s)) return false;
    watcher?.disconnect();
    resolve({ held: true, shown: s });
    return true;
  };
  if (look()) return;
  watcher = new MutationObserver(look);
  watcher.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  setTimeout(() => { watcher.disconnect(); resolve({ held: false, shown: shown() }); }, %d);
})
"""

# Resolves when an element comes to hold a text.
TEXT = """
new Promise((resolve) => {
  const holds = () => document.querySelector(%s)?.textContent.includes(%s);
  if (holds()) return resolve(true);
  const watcher = new MutationObserver(() => holds() && resolve(true));
  watcher.observe(document, { subtree: true, childList: true, characterData: true });
  setTimeout(() => resolve(false), %d);
})
"""


class Refused(AssertionError):
    """Chromium answered with an error."""


class Browser:
    """The DevTools protocol on one WebSocket; every page has its own cookies, storage and connections."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.complaints: dict[str, list[str]] = {}  # session -> what the page wrote to its console

    def call(self, method: str, session: str | None = None, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=4 * WAIT_SECONDS))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise Refused(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._hear(answer)

    def _hear(self, event: dict[str, Any]) -> None:
        params, said = event.get("params", {}), None
        if event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            said = " ".join(str(arg.get("value", arg.get("description"))) for arg in params["args"])
        elif event["method"] == "Runtime.exceptionThrown":
            said = params["exceptionDetails"].get("exception", {}).get("description", "an exception")
        elif event["method"] == "Log.entryAdded":
            said = f"{params['entry']['text']} {params['entry'].get('url', '')}"
        if said is not None:
            self.complaints.setdefault(event["sessionId"], []).append(said)

    def open(self, url: str) -> "Page":
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        self.call("Page.navigate", session, url=url)
        return Page(self, session, context)


@dataclass
class Page:
    """One tab, used as a person would: type, click, look."""

    browser: Browser
    session: str
    context: str

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; of what it resolves to if it is a promise."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                answer = self.browser.call("Runtime.evaluate", self.session, **asked)
                break
            except Refused:  # a page that is being loaded forgets what it was asked
                if time.monotonic() > deadline:
                    raise
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """What the page shows once `condition` holds, an expression over `s` (see UNTIL)."""
        answer = self.evaluate(UNTIL % (condition, int(seconds * 1000)))
        said = self.browser.complaints.get(self.session, [])
        assert answer["held"], (
            f"not {condition}\nshown: {json.dumps(answer['shown'], indent=1)}\nconsole: {said}"
        )
        return dict(answer["shown"])

    def until_messages(self, *messages: tuple[str, str]) -> dict[str, Any]:
        wanted = json.dumps([list(message) for message in messages])
        return self.until(f"JSON.stringify(s.messages) === JSON.stringify({wanted})")

    def until_text(self, selector: str, text: str) -> None:
        """Wait until an element holds a text."""
        held = self.evaluate(TEXT % (json.dumps(selector), json.dumps(text), int(WAIT_SECONDS * 1000)))
        said = self.browser.complaints.get(self.session, [])
        shown = self.evaluate("document.body?.innerText")
        assert held, f"no {text!r} in {selector}\nshown: {shown}\nconsole: {said}"

    def click(self, name: str) -> None:
        self.evaluate(f"document.getElementById({name!r}).click()")

    def say(self, text: str) -> None:
        """Type into the field and press Enter, as the keyboard does."""
        self.until("true")
        self.evaluate("document.getElementById('text').focus()")
        self.browser.call("Input.insertText", self.session, text=text)
        for kind in ("keyDown", "keyUp"):
            self.browser.call(
                "Input.dispatchKeyEvent",
                self.session,
                type=kind,
                key="Enter",
                code="Enter",
                text="\r" if kind == "keyDown" else "",
                windowsVirtualKeyCode=13,
            )

    def go(self, url: str) -> None:
        self.browser.call("Page.navigate", self.session, url=url)

    def reload(self) -> None:
        self.evaluate("document.querySelector('main').remove()")
        self.browser.call("Page.reload", self.session)

    def close(self) -> None:
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("chromium")
    with (profile / "chromium.log").open("wb") as log:
        command = ["chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with connect(_address(process, profile), max_size=None, ping_interval=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait()


def _address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Where Chromium listens: it writes the port and the path into a file of its profile."""
    said = profile / "DevToolsActivePort"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        lines = said.read_text().split() if said.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    log = (profile / "chromium.log").read_text(errors="replace")
    pytest.fail(f"Chromium did not start:\n{log[-4000:]}", pytrace=False)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def pages_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled pages: `<name>.html` for each entry."""
    folder = tmp_path_factory.mktemp("pages")
    bundle(sorted(PAGES.glob("*-*.jsx")), folder)
    (folder / "blank.html").write_text("<!doctype html><title>blank</title>")
    return folder


@pytest.fixture(scope="session")
def pages(pages_folder: Path) -> Iterator[str]:
    """The origin that serves them."""
    handler = functools.partial(_Quiet, directory=str(pages_folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as origin:
        threading.Thread(target=origin.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{origin.server_address[1]}"
        origin.shutdown()


def bundle(entries: list[Path], folder: Path) -> None:
    """Build entries that import React and the SDKs into pages that a browser opens."""
    esbuild = PAGES / "node_modules" / ".bin" / "esbuild"
    assert esbuild.exists(), "run `npm ci` in tests/browser/pages first"
    options = ["--bundle", "--splitting", "--format=esm", "--jsx=automatic", "--log-level=warning"]
    mode = "--define:process.env.NODE_ENV='\"production\"'"
    command = [esbuild, *entries, *options, mode, f"--outdir={folder}"]
    packages = {"NODE_PATH": str(PAGES / "node_modules")}  # for entries that stand elsewhere
    subprocess.run(command, cwd=PAGES, env=os.environ | packages, check=True)
    for entry in entries:
        script = f'<script type="module" src="{entry.stem}.js"></script>'
        page = f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body>{script}'
        (folder / f"{entry.stem}.html").write_text(page)


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, pages: str) -> Iterator[Open]:
    """Open a page by its name; what the keywords say goes into its address."""
    opened: list[Page] = []

    def open_one(name: str, **query: Any) -> Page:
        fields = {
            key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()
        }
        opened.append(browser.open(f"{pages}/{name}.html?{urlencode(fields)}"))
        return opened[-1]

    yield open_one
    for page in opened:
        page.close()
