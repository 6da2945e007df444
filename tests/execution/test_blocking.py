"""A blocked loop is traced to the line of the user's own code, its node and its run."""

import sys
import sysconfig
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.execution.blocking import blocking_place

CONFIG = {"metadata": {"langgraph_node": "think", "run_id": "r1"}}


def place_of(work: Callable[[threading.Event, threading.Event], None]) -> dict[str, Any] | None:
    """Where a thread hangs that does some work: it sets one event and waits for the other."""
    hanging, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=work, args=(hanging, go_on))
    thread.start()
    assert hanging.wait(10)
    try:
        return blocking_place(sys._current_frames()[thread.ident or 0])
    finally:
        go_on.set()
        thread.join()


def node(hanging: threading.Event, go_on: threading.Event) -> None:
    hanging.set()
    go_on.wait(10)  # the innermost frames are those of the standard library


def module(path: Path, name: str, package: str, code: str) -> types.ModuleType:
    """A module as if it had been imported from a file."""
    made = types.ModuleType(name)
    made.__package__ = package
    exec(compile(code, str(path), "exec"), made.__dict__)
    return made


def test_the_line_is_the_users_and_not_the_librarys() -> None:
    found = place_of(node)
    assert found is not None
    line = next(
        at for at, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "innermost" in text
    )
    assert (found["line"], found["function"]) == (f"{__file__}:{line}", "node")


def test_the_node_and_the_run_are_found_further_out() -> None:
    def runner(hanging: threading.Event, go_on: threading.Event) -> None:
        config = CONFIG  # as langgraph's own frames have it
        node(hanging, go_on)
        del config

    found = place_of(runner)
    assert found is not None
    assert (found["node"], found["run_id"], found["function"]) == ("think", "r1", "node")


def test_without_a_node_the_line_alone_is_told() -> None:
    def runner(hanging: threading.Event, go_on: threading.Event) -> None:
        config = {"metadata": None}
        node(hanging, go_on)
        del config

    assert set(place_of(runner) or {}) == {"line", "function"}


def test_a_thread_without_users_code_blocks_nobody() -> None:
    hanging, go_on = threading.Event(), threading.Event()
    library = Path(sysconfig.get_path("purelib")) / "library.py"
    code = "def hang(hanging, go_on):\n    hanging.set()\n    go_on.wait(10)\n"
    hang = module(library, "library", "library", code).hang
    thread = threading.Thread(target=hang, args=(hanging, go_on))
    thread.start()
    assert hanging.wait(10)
    found = blocking_place(sys._current_frames()[thread.ident or 0])
    go_on.set()
    thread.join()
    assert found is None


def test_our_own_code_is_not_the_users(tmp_path: Path) -> None:
    code = "def hang(hanging, go_on):\n    hanging.set()\n    go_on.wait(10)\n"
    ours = module(tmp_path / "ours.py", "server.ours", "server", code)
    found = place_of(lambda hanging, go_on: ours.hang(hanging, go_on))
    assert found is not None
    assert found["function"] == "<lambda>"  # the innermost frame that is not ours


def test_a_module_of_another_package_is_the_users(tmp_path: Path) -> None:
    code = "def hang(hanging, go_on):\n    hanging.set()\n    go_on.wait(10)\n"
    theirs = module(tmp_path / "theirs.py", "agents.theirs", "agents", code)
    assert (place_of(theirs.hang) or {})["function"] == "hang"
