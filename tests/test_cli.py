"""The command line as a person meets it: real processes, their output and their exit status."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fix_cli import REPO, SECONDS_MAX, Start, graphwire, project, start, until, url_of

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


def test_help_lists_the_commands_in_the_order_of_use_each_with_a_whole_sentence() -> None:
    text = graphwire("--help").stdout
    listed = re.findall(r"^  (\w+) +(\w.*)$", text.partition("Commands:")[2], re.MULTILINE)
    assert [name for name, _ in listed][:3] == ["new", "dev", "serve"]
    assert all(sentence.endswith(".") and "..." not in sentence for _, sentence in listed)


def test_a_command_that_is_mistyped_is_guessed() -> None:
    done = graphwire("srve")
    assert done.returncode == 2
    assert "Did you mean 'serve'?" in done.stderr


def test_a_shell_can_complete_commands_and_flags() -> None:
    """docs/configuration.md says how a shell is told of it."""
    command = Path(sys.executable).with_name("graphwire")

    def complete(words: str, index: int, **env: str) -> str:
        told = {"_GRAPHWIRE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(index), **env}
        return subprocess.run(
            [command], env=os.environ | told, capture_output=True, text=True, timeout=SECONDS_MAX, check=True
        ).stdout

    assert "complete -o nosort -F _graphwire_completion graphwire" in complete(
        "", 0, _GRAPHWIRE_COMPLETE="bash_source"
    )
    assert complete("graphwire se", 1) == "plain,serve\n"
    assert "plain,--port" in complete("graphwire dev --po", 2)


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


def test_dev_says_where_to_click(start: Start, project: Path) -> None:
    process = start(
        "dev", "--no-reload", "-c", project, "--port", 0, "--studio-url", "https://studio.example"
    )
    url = url_of(process)
    assert until(process, "stdout", "Docs").split()[-1] == f"{url}/docs"
    assert until(process, "stdout", "Studio").split()[-1] == f"https://studio.example/studio/?baseUrl={url}"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tunnel"], "run one of your own"),
        (["--debug-port", "5678"], "python -m debugpy"),
        (["--wait-for-client"], "python -m debugpy"),
        (["--ssl-certfile", "cert.pem"], "belong together"),
        (["--ssl-certfile", "no.pem", "--ssl-keyfile", "no.pem"], "cannot use no.pem"),
        (["--env-file", "no.env"], "no.env cannot be read"),
        (["--n-jobs-per-worker", "0"], "x>=1"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(project: Path, flags: list[str], said: str) -> None:
    done = graphwire("dev", "--no-reload", "--config", project, "--port", 0, *flags)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())


def test_the_flags_of_langgraph_dev_are_taken(start: Start, project: Path) -> None:
    process = start(
        *("dev", "--no-reload", "-c", project, "--host", "127.0.0.1", "--port", 0, "--no-browser"),
        *("--allow-blocking", "--n-jobs-per-worker", 3, "--server-log-level", "debug"),
    )
    url = url_of(process)
    assert httpx.get(f"{url}/ok").json()["ok"] is True
    assert "request" in until(process, "stderr", "/ok")  # at the level that was asked for


def test_a_file_of_variables_wins_over_the_environment_and_the_project_file(
    start: Start, project: Path
) -> None:
    (project.parent / "small.py").write_text(
        "import os\nfrom langgraph.graph import START, StateGraph\n"
        "graph = StateGraph(dict).add_node('n', lambda s: {'found': os.environ['WHO']})\n"
        "graph = graph.add_edge(START, 'n').compile()\n"
    )
    project.write_text('{"graphs": {"small": "./small.py:graph"}, "env": {"WHO": "file"}}')
    (project.parent / "my.env").write_text("WHO=flag")
    env_file = project.parent / "my.env"
    process = start("serve", "--config", project, "--port", 0, "--env-file", env_file, WHO="process")
    body = {"assistant_id": "small", "input": {}}
    assert httpx.post(f"{url_of(process)}/runs/wait", json=body).json() == {"found": "flag"}


def test_with_a_certificate_it_serves_https(start: Start, project: Path) -> None:
    pem = REPO / "tests" / "execution" / "hooks_test.pem"
    process = start(*("serve", "--config", project, "--port", 0, "--ssl-certfile", pem, "--ssl-keyfile", pem))
    url = url_of(process)
    assert url.startswith("https://")
    assert httpx.get(f"{url}/ok", verify=False).json()["ok"] is True


def test_dev_goes_on_where_serve_refuses_and_says_so(start: Start, project: Path) -> None:
    project.write_text(
        '{"graphs": {"small": "./small.py:graph"}, "encryption": {"path": "./x.py:y"}, "env": ".env"}'
    )
    process = start("dev", "--no-reload", "--config", project, "--port", 0)
    url_of(process)
    process.terminate()
    said = process.communicate(timeout=SECONDS_MAX)[1]
    assert '"encryption" has no effect here' in said
    assert "which does not exist: no variable is taken from it" in said
