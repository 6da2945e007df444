"""The command line as a person meets it: real processes, their output and their exit status."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from fix_cli import SECONDS_MAX, Start, graphwire, project, start, until, url_of

__all__ = ["project", "start"]


def one_message(result: "subprocess.CompletedProcess[str]") -> str:
    """What a failed start printed, which must be one line and no traceback."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("graphwire: ")
    return lines[0]


def test_help_names_the_commands_and_their_flags() -> None:
    assert {"dev", "serve"} <= set(graphwire("--help").stdout.split())
    for command in ("dev", "serve"):
        text = graphwire(command, "--help").stdout
        assert all(flag in text for flag in ("--config", "--host", "--port", "--reload / --no-reload"))
        assert "--parent" not in text


def test_the_version_is_the_packages() -> None:
    assert graphwire("--version").stdout == "graphwire, version 0.1.0\n"


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_missing_project_file_ends_the_start_with_status_2(command: str, tmp_path: Path) -> None:
    result = graphwire(command, "--config", tmp_path / "nowhere" / "langgraph.json")
    assert result.returncode == 2
    assert "langgraph.json does not exist" in one_message(result)


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_project_file_that_is_no_json_ends_the_start_with_status_2(command: str, project: Path) -> None:
    project.write_text("{")
    result = graphwire(command, "--config", project)
    assert result.returncode == 2
    assert "is not valid JSON" in one_message(result)


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_graph_that_cannot_be_loaded_ends_the_start_with_status_3(command: str, project: Path) -> None:
    (project.parent / "small.py").write_text("import no_such_package\n")
    result = graphwire(command, "--config", project, "--port", 0)
    assert result.returncode == 3
    message = one_message(result)
    assert all(part in message for part in ("small", "small.py", "no_such_package"))


@pytest.mark.parametrize(
    ("store", "status", "named"),
    [
        ({"index": {"embed": "./embed.py:missing", "dims": 3}}, 3, "store.index.embed"),
        ({"index": {"embed": "./small.py:GRAPH", "dims": 3}}, 3, 'no variable "GRAPH"'),
        ({"ttl": {"default_ttl": 0}}, 2, "store.ttl.default_ttl"),
    ],
)
def test_a_store_that_cannot_be_made_ends_the_start(
    project: Path, store: dict[str, object], status: int, named: str
) -> None:
    project.write_text(json.dumps({"graphs": {"small": "./small.py:graph"}, "store": store}))
    result = graphwire("serve", "--config", project, "--port", 0)
    assert result.returncode == status
    assert named in one_message(result)


def test_the_traceback_of_a_failed_start_is_shown_when_asked_for(project: Path) -> None:
    project.write_text("{")
    result = graphwire("serve", "--config", project, "--traceback")
    assert result.returncode == 2
    assert "Traceback (most recent call last)" in result.stderr


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_busy_port_is_an_error_that_says_so(command: str, project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = graphwire(command, "--config", project, "--port", port)
    assert result.returncode == 2
    expected = f"graphwire: port {port} on 127.0.0.1 is in use; choose another with --port"
    assert one_message(result) == expected


def test_a_host_that_is_not_ours_is_an_error_that_says_so(project: Path) -> None:
    result = graphwire("serve", "--config", project, "--host", "192.0.2.1", "--port", 0)
    assert result.returncode == 2
    assert (
        one_message(result) == "graphwire: this machine has no address 192.0.2.1; choose another with --host"
    )


def test_a_bad_setting_ends_the_start_with_status_2(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    result = graphwire("serve", "--config", project)
    assert result.returncode == 2
    assert "LOG_LEVEL" in one_message(result)


def test_a_start_says_where_the_server_and_its_docs_are_and_which_graphs_it_serves(
    start: Start, project: Path
) -> None:
    process = start("serve", "--config", project, "--port", 0)
    assert until(process, "stdout", "serves").split()[-1] == "small"
    url = url_of(process)
    assert until(process, "stdout", "Docs").split()[-1] == f"{url}/docs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_signal_ends_the_server_with_status_0_and_without_a_traceback(
    start: Start, project: Path, command: str, number: signal.Signals
) -> None:
    process = start(command, "--config", project, "--port", 0)
    url_of(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS_MAX)
    assert process.returncode == 0
    assert "Traceback" not in errors
