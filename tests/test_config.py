"""langgraph.json and the environment: what is accepted, and that every refusal says what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.config.project import Project, load_project
from server.config.settings import Settings, apply_environment, load_settings
from server.errors import ConfigError
from server.models import GraphSpec

REPOSITORY = Path(__file__).resolve().parents[1]
GRAPHS = {"agent": "./agent.py:graph"}
Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(document: Any) -> Path:
        file = tmp_path / "langgraph.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return file

    return write


@pytest.fixture
def process_state() -> Iterator[None]:
    """Give the process its environment and import path back."""
    environ, path = dict(os.environ), list(sys.path)
    yield
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:] = path


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which no setting is set."""
    for name, described in Settings.model_fields.items():
        monkeypatch.delenv(f"GRAPHWIRE_{name.upper()}", raising=False)
        monkeypatch.delenv(str(described.validation_alias), raising=False)
    return monkeypatch


def test_a_string_entry_names_a_graph(write: Write) -> None:
    assert load_project(write({"graphs": GRAPHS})).graphs == (GraphSpec("agent", "./agent.py:graph"),)


def test_an_object_entry_may_describe_its_graph(write: Write) -> None:
    entry = {"path": "pkg.module:graph", "description": "Tells jokes.", "other": 1}
    assert load_project(write({"graphs": {"a": entry}})).graphs == (
        GraphSpec("a", "pkg.module:graph", "Tells jokes."),
    )


def test_graphs_keep_the_order_of_the_file(write: Write) -> None:
    graphs = dict.fromkeys("zamb", "./agent.py:graph")
    assert [spec.graph_id for spec in load_project(write({"graphs": graphs})).graphs] == list("zamb")


def test_unknown_keys_are_kept_in_raw_and_otherwise_ignored(write: Write) -> None:
    document = {"$schema": "x", "graphs": GRAPHS, "colour": ["green"]}
    assert dict(load_project(write(document)).raw) == document


def test_the_root_is_the_directory_of_the_file_wherever_the_process_stands(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write({"graphs": GRAPHS})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    project = load_project("../langgraph.json")
    assert (project.path, project.root) == (file, tmp_path)


def test_a_byte_order_mark_is_no_error(write: Write) -> None:
    assert load_project(write("\ufeff" + json.dumps({"graphs": GRAPHS}))).graphs


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"graphs":\n  nope}', "not valid JSON: Expecting value at line 2, column 3"),
        ([1], "must hold a JSON object"),
        ({}, '"graphs" must be an object'),
        ({"graphs": {}}, '"graphs" must be an object'),
        ({"graphs": ["./a.py:graph"]}, '"graphs" must be an object'),
        ({"graphs": {"": "./a.py:graph"}}, "without a name"),
        ({"graphs": {"a": 5}}, '"graphs.a" must be "file.py:variable"'),
        ({"graphs": {"a": {"description": "x"}}}, '"graphs.a" must be "file.py:variable"'),
        (
            {"graphs": {"a": {"path": "./a.py:g", "description": 5}}},
            '"graphs.a.description" must be a string',
        ),
        ({"graphs": {"a": "./a.py"}}, '"graphs.a" is "./a.py": write file, colon and variable'),
        ({"graphs": {"a": "./a.py:"}}, '"graphs.a" is "./a.py:": write file, colon and variable'),
        ({"graphs": {"a": ":graph"}}, '"graphs.a" is ":graph": write file, colon and variable'),
        ({"graphs": {"a": "./a.ts:graph"}}, "JavaScript graph"),
        ({"graphs": {"a": "./a.mjs"}}, "JavaScript graph"),
        ({"graphs": GRAPHS, "dependencies": "."}, '"dependencies" must be a list of strings'),
        ({"graphs": GRAPHS, "dependencies": [1]}, '"dependencies" must be a list of strings'),
        ({"graphs": GRAPHS, "env": ["A=1"]}, '"env" must be an object of strings or the path'),
        ({"graphs": GRAPHS, "env": {"A": 1}}, '"env.A" must be a string'),
        ({"graphs": GRAPHS, "env": {"A=B": "1"}}, '"env.A=B" is no possible variable'),
        ({"graphs": GRAPHS, "env": "."}, "which is not a file"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_key(write: Write, document: Any, said: str) -> None:
    file = write(document)
    with pytest.raises(ConfigError) as caught:
        load_project(file)
    assert said in caught.value.message
    assert str(file) in caught.value.message


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json does not exist"):
        load_project(tmp_path / "nowhere.json")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_project(tmp_path)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_bytes(b'{"graphs": "\xe9"}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_project(tmp_path / "langgraph.json")


def test_the_src_layout_needs_no_installation(write: Write, tmp_path: Path, process_state: None) -> None:
    """After what the file names: a `src` may hold anything. Without a package around it, it is not meant."""
    for name in ("lib", "loose"):
        (tmp_path / name / "src").mkdir(parents=True)
    (tmp_path / "lib" / "pyproject.toml").touch()
    apply_environment(load_project(write({"graphs": GRAPHS, "dependencies": ["./lib", "./loose"]})))
    wanted = [tmp_path, tmp_path / "lib", tmp_path / "loose", tmp_path / "lib" / "src"]
    assert sys.path[:4] == list(map(str, wanted))
    assert str(tmp_path / "loose" / "src") not in sys.path


def test_env_may_be_a_map(write: Write) -> None:
    assert dict(load_project(write({"graphs": GRAPHS, "env": {"A": "1"}})).env) == {"A": "1"}


def test_env_may_be_a_dotenv_file_beside_the_config(write: Write, tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("# note\nexport A=1\nB='two words' # end\nC=${A}2\nEMPTY=\nBARE\n")
    env = load_project(write({"graphs": GRAPHS, "env": "./my.env"})).env
    assert dict(env) == {"A": "1", "B": "two words", "C": "12", "EMPTY": ""}


def test_a_dotenv_file_that_is_missing_is_a_warning(write: Write) -> None:
    """`langgraph dev` starts such a project, and in a container the file is not there."""
    project = load_project(write({"graphs": GRAPHS, "env": "missing.env"}))
    assert dict(project.env) == {}
    (warning,) = project.warnings
    assert '"env" names' in warning
    assert "missing.env, which does not exist" in warning


def test_without_env_a_dotenv_file_is_not_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    assert dict(load_project(write({"graphs": GRAPHS})).env) == {}


def test_a_printed_project_shows_no_secret(write: Write) -> None:
    assert "hunter2" not in repr(load_project(write({"graphs": GRAPHS, "env": {"KEY": "hunter2"}})))


@pytest.mark.usefixtures("process_state")
def test_env_goes_over_the_process_environment(write: Write) -> None:
    os.environ["GRAPHWIRE_TEST"] = "before"
    apply_environment(load_project(write({"graphs": GRAPHS, "env": {"GRAPHWIRE_TEST": "after"}})))
    assert os.environ["GRAPHWIRE_TEST"] == "after"


@pytest.mark.usefixtures("process_state")
def test_checkpoints_are_strict_unless_the_user_says_otherwise(write: Write) -> None:
    os.environ.pop("LANGGRAPH_STRICT_MSGPACK", None)
    apply_environment(load_project(write({"graphs": GRAPHS})))
    assert os.environ["LANGGRAPH_STRICT_MSGPACK"] == "true"
    apply_environment(load_project(write({"graphs": GRAPHS, "env": {"LANGGRAPH_STRICT_MSGPACK": "false"}})))
    assert os.environ["LANGGRAPH_STRICT_MSGPACK"] == "false"


@pytest.mark.usefixtures("process_state")
def test_the_project_and_its_local_dependencies_come_first_on_the_import_path(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    sys.path.append(str(tmp_path / "lib"))
    before = [entry for entry in sys.path if entry != str(tmp_path / "lib")]
    apply_environment(load_project(write({"graphs": GRAPHS, "dependencies": [".", "./lib", "./no", "rich"]})))
    assert sys.path == [str(tmp_path), str(tmp_path / "lib"), *before]


def test_the_configuration_is_read_before_langgraph_is_imported() -> None:
    script = "import sys, server.config.settings; print([m for m in sys.modules if m.startswith('lang')])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_texts_of_exceptions_are_for_the_machine_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """They often hold keys and addresses (reliability L1)."""
    assert load_settings(local=True).error_text == "known"
    assert load_settings().error_text == "none"
    monkeypatch.setenv("GRAPHWIRE_ERROR_TEXT", "known")
    assert load_settings().error_text == "known"


def test_an_empty_environment_gives_the_documented_defaults(no_settings: pytest.MonkeyPatch) -> None:
    assert load_settings().model_dump() == {
        "database_uri": None,
        "redis_uri": None,
        "namespace": "graphwire",
        "database_connections": 10,
        "lease_seconds": 15,
        "jobs_per_worker": 512,
        "log_level": "INFO",
        "log_json": False,
        "access_log": True,
        "metrics": True,
        "otel_endpoint": None,
        "runs_per_identity_max": 0,
        "request_rate_max": 0,
        "request_burst_max": 100,
        "requests_at_once_max": 0,
        "run_timeout_seconds": 86_400,
        "run_attempts_max": 3,
        "shutdown_grace_seconds": 25,
        "replay_seconds": 120,
        "cors_allow_origins": (),
        "cors_allow_origin_regex": None,
        "cors_allow_methods": ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"),
        "cors_allow_headers": ("*",),
        "cors_allow_credentials": None,
        "cors_expose_headers": (),
        "cors_max_age": 600,
        "cors_allow_private_network": True,
        "body_bytes_max": 32 * 1024 * 1024,
        "log_bytes_max": 16 * 1024 * 1024,
        "log_entries_max": 100_000,
        "logs_bytes_max": 256 * 1024 * 1024,
        "send_timeout_seconds": 30,
        "heartbeat_seconds": 5,
        "data_dir": None,
        "sqlite_synchronous": "FULL",
        "pending_runs_max": 10_000,
        "api_keys": None,
        "isolation": "graph",
        "error_text": "none",
        "free_bytes_min": 64 * 1024 * 1024,
        "keep_partial_answers": False,
        "pending_runs_per_identity_max": 1_000,
        "webhook_secret": None,
        "webhook_networks": (),
        "webhook_tries_max": 5,
        "webhook_wait_seconds": 1,
        "webhook_concurrency": 16,
        "crons_per_identity_max": 1_000,
        "cron_interval_seconds_min": 1,
        "mount_prefix": None,
        "allowed_hosts": (),
        "require_json": True,
        "head_bytes_max": 32 * 1024,
        "receive_timeout_seconds": 15,
    }


def test_postgresql_and_redis_go_together(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("DATABASE_URI", "postgresql://h/d")
    with pytest.raises(ConfigError, match="DATABASE_URI and REDIS_URI belong together"):
        load_settings()
    no_settings.setenv("REDIS_URI", "redis://h")
    settings = load_settings()
    assert (settings.database_uri, settings.redis_uri) == ("postgresql://h/d", "redis://h")
    assert settings.distributed


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("GRAPHWIRE_NAMESPACE", "mine", "namespace", "mine"),
        ("GRAPHWIRE_DATABASE_CONNECTIONS", "3", "database_connections", 3),
        ("GRAPHWIRE_LEASE_SECONDS", "2", "lease_seconds", 2),
        ("N_JOBS_PER_WORKER", "7", "jobs_per_worker", 7),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LOG_JSON", "true", "log_json", True),
        ("BG_JOB_TIMEOUT_SECS", "1.5", "run_timeout_seconds", 1.5),
        ("BG_JOB_MAX_RETRIES", "1", "run_attempts_max", 1),
        ("BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS", "0", "shutdown_grace_seconds", 0),
        ("RESUMABLE_STREAM_TTL_SECONDS", "0", "replay_seconds", 0),
        ("CORS_ALLOW_ORIGINS", "https://a.example, https://b.example,", "cors_allow_origins",
         ("https://a.example", "https://b.example")),
        ("GRAPHWIRE_BODY_BYTES_MAX", "10", "body_bytes_max", 10),
        ("GRAPHWIRE_LOG_BYTES_MAX", "10", "log_bytes_max", 10),
        ("GRAPHWIRE_LOG_ENTRIES_MAX", "10", "log_entries_max", 10),
        ("GRAPHWIRE_LOGS_BYTES_MAX", "10", "logs_bytes_max", 10),
        ("GRAPHWIRE_SEND_TIMEOUT_SECONDS", "2", "send_timeout_seconds", 2),
        ("GRAPHWIRE_HEARTBEAT_SECONDS", "0.5", "heartbeat_seconds", 0.5),
        ("GRAPHWIRE_DATA_DIR", "/data", "data_dir", Path("/data")),
        ("GRAPHWIRE_SQLITE_SYNCHRONOUS", "normal", "sqlite_synchronous", "NORMAL"),
        ("GRAPHWIRE_PENDING_RUNS_MAX", "10", "pending_runs_max", 10),
        ("GRAPHWIRE_ISOLATION", "run", "isolation", "run"),
        ("GRAPHWIRE_ERROR_TEXT", "all", "error_text", "all"),
        ("GRAPHWIRE_WEBHOOK_SECRET", "x" * 16, "webhook_secret", "x" * 16),
        ("GRAPHWIRE_WEBHOOK_TRIES_MAX", "2", "webhook_tries_max", 2),
        ("GRAPHWIRE_WEBHOOK_WAIT_SECONDS", "0.5", "webhook_wait_seconds", 0.5),
        ("GRAPHWIRE_WEBHOOK_CONCURRENCY", "2", "webhook_concurrency", 2),
        ("GRAPHWIRE_JOBS_PER_WORKER", "9", "jobs_per_worker", 9),
        ("N_JOBS_PER_WORKER", "", "jobs_per_worker", 512),
    ],
)  # fmt: skip
def test_a_variable_sets_its_setting(
    no_settings: pytest.MonkeyPatch, variable: str, text: str, field: str, value: Any
) -> None:
    no_settings.setenv(variable, text)
    assert getattr(load_settings(), field) == value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("N_JOBS_PER_WORKER", "0"),
        ("N_JOBS_PER_WORKER", "many"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_JSON", "perhaps"),
        ("BG_JOB_TIMEOUT_SECS", "0"),
        ("BG_JOB_TIMEOUT_SECS", "inf"),
        ("RESUMABLE_STREAM_TTL_SECONDS", "-1"),
        ("GRAPHWIRE_BODY_BYTES_MAX", "1.5"),
        ("GRAPHWIRE_HEARTBEAT_SECONDS", "nan"),
        ("GRAPHWIRE_SQLITE_SYNCHRONOUS", "OFF"),
        ("GRAPHWIRE_ISOLATION", "none"),
        ("GRAPHWIRE_JOBS_PER_WORKER", "-1"),
    ],
)
def test_a_bad_value_is_refused_with_its_variable(
    no_settings: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    no_settings.setenv(variable, text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert f"{variable}='{text}'" in caught.value.message


def test_unprefixed_names_of_our_own_settings_are_not_read(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("ISOLATION", "run")
    assert load_settings().isolation == "graph"


def test_printed_settings_show_no_password() -> None:
    assert "hunter2" not in repr(Settings(database_uri="postgresql://u:hunter2@h/d"))


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_project_cannot_be_changed(write: Write) -> None:
    project: Project = load_project(write({"graphs": GRAPHS, "env": {"A": "1"}}))
    with pytest.raises(TypeError):
        project.env["A"] = "2"  # type: ignore[index]


def test_what_must_not_be_printed_is_known_with_its_parts(no_settings: pytest.MonkeyPatch) -> None:
    no_settings.setenv("DATABASE_URI", "postgresql://u:pass-word-1@db/x")
    no_settings.setenv("REDIS_URI", "redis://:pass-word-2@cache")
    no_settings.setenv("GRAPHWIRE_WEBHOOK_SECRET", "first-secret-of-some first-and-a-second-one")
    no_settings.setenv("GRAPHWIRE_API_KEYS", '{"alice": "a long secret of alice"}')
    known = load_settings().secrets
    for secret in (
        "pass-word-1",
        "pass-word-2",
        "first-secret-of-some",
        "first-and-a-second-one",
        "a long secret of alice",
    ):
        assert secret in known
