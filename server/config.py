"""langgraph.json and the environment → a frozen Project and frozen Settings; the only reader of os.environ.

Nothing here imports LangGraph or LangChain: `apply_environment` must come before their first import.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from .cors_config import CorsSettings, split
from .errors import ConfigError
from .models import GraphSpec, Network, WebhookRules
from .webhook_config import SigningSecret, webhook_rules

JAVASCRIPT_SUFFIXES = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts")


@dataclass(frozen=True, slots=True)
class Project:
    """A checked langgraph.json (contract/resources.md 12). Every path in it is relative to `root`."""

    path: Path
    root: Path
    graphs: tuple[GraphSpec, ...]
    dependencies: tuple[str, ...]
    # Often holds keys and passwords: never shown when a project is printed.
    env: Mapping[str, str] = field(repr=False)
    raw: Mapping[str, Any] = field(repr=False)


def load_project(path: str | os.PathLike[str]) -> Project:
    """Read and check langgraph.json; unknown top-level keys and `$schema` are ignored.

    Paths count from the file, not from the working directory (contract/resources.md 12, D70).
    Raises ConfigError, whose one message names the file, the key and what to do.
    """
    file = Path(os.path.abspath(path))  # not resolve(): what a symbolic link leads to has other neighbours
    document = _document(file)
    return Project(
        path=file,
        root=file.parent,
        graphs=_graphs(file, document.get("graphs")),
        dependencies=_dependencies(file, document.get("dependencies")),
        env=MappingProxyType(_environment(file, document.get("env"))),
        raw=MappingProxyType(document),
    )


def apply_environment(project: Project) -> None:
    """Put `env` over the process environment, and the project's directories first on sys.path.

    Call it before anything imports LangGraph, which reads LANGGRAPH_STRICT_MSGPACK only once: checkpoints
    may then only bring to life the types that the graph's state declares. The project's directories go to
    the front so that a user's module wins over one of ours.
    """
    os.environ.update(project.env)
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    # A dependency that is no directory here is a package to install: contract/resources.md 12.
    places = (os.path.normpath(project.root / entry) for entry in (".", *project.dependencies))
    wanted = list(dict.fromkeys(place for place in places if os.path.isdir(place)))
    sys.path[:] = wanted + [entry for entry in sys.path if entry not in wanted]


def load_webhooks(project: Project, settings: "Settings") -> WebhookRules:
    """`webhooks` of langgraph.json with the environment as it is now. Raises ConfigError."""
    return webhook_rules(project.path, project.raw.get("webhooks"), os.environ, settings.webhook_networks)


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')


def _text(file: Path, described: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{described} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{described} is not UTF-8 text: save it as UTF-8.") from error


def _document(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise ConfigError(f"{file} does not exist: create it, or name another file with --config.")
    try:
        document = json.loads(_text(file, str(file)))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(f"{file} is not valid JSON: {error.msg} at {place}.") from error
    if not isinstance(document, dict):
        raise ConfigError(f'{file} must hold a JSON object, such as {{"graphs": {{…}}}}.')
    return document


def _graphs(file: Path, value: Any) -> tuple[GraphSpec, ...]:
    if not isinstance(value, dict) or not value:
        example = '{"agent": "./graphs/agent.py:graph"}'
        raise _wrong(file, "graphs", f"must be an object that names at least one graph, such as {example}.")
    return tuple(_graph(file, graph_id, entry) for graph_id, entry in value.items())


def _graph(file: Path, graph_id: str, entry: Any) -> GraphSpec:
    key = f"graphs.{graph_id}"
    if not graph_id:
        raise _wrong(file, "graphs", "has an entry without a name: give the graph an id.")
    parts = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(parts, dict) or not isinstance(parts.get("path"), str):
        raise _wrong(file, key, 'must be "file.py:variable" or an object with such a string as "path".')
    description = parts.get("description")
    if description is not None and not isinstance(description, str):
        raise _wrong(file, f"{key}.description", "must be a string.")
    return GraphSpec(graph_id, _target(file, key, parts["path"]), description)


def _target(file: Path, key: str, target: str) -> str:
    module, colon, variable = target.rpartition(":")
    where = module if colon else target
    if where.lower().endswith(JAVASCRIPT_SUFFIXES):
        raise _wrong(file, key, f"names a JavaScript graph ({target}): only Python graphs can be served.")
    if not module or not variable.isidentifier():
        raise _wrong(file, key, f'is "{target}": write file, colon and variable, as in "./agent.py:graph".')
    return target


def _dependencies(file: Path, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _wrong(file, "dependencies", 'must be a list of strings, such as ["."].')
    return tuple(value)


def _environment(file: Path, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, str):
        return _dotenv(file, value)
    if not isinstance(value, dict):
        raise _wrong(file, "env", "must be an object of strings or the path of a dotenv file.")
    for name, text in value.items():
        if not isinstance(text, str):
            raise _wrong(file, f"env.{name}", "must be a string: put the value in quotes.")
        if not name or "=" in name or "\0" in name + text:
            raise _wrong(file, f"env.{name}", "is no possible variable: drop the empty name, '=' or NUL.")
    return dict(value)


def _dotenv(file: Path, path: str) -> dict[str, str]:
    """The variables of a dotenv file: `export`, quotes, comments, `${X}`; a name without `=` sets nothing."""
    source = file.parent / path
    if not source.is_file():
        raise _wrong(file, "env", f"names {source}, which is not a file: create it or remove the key.")
    _text(source, f'{file}: "env" names {source}, which')
    values = dotenv_values(source, encoding="utf-8-sig")
    return {name: text for name, text in values.items() if text is not None}


Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
SecondsOrNone = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PREFIX = "GRAPHWIRE_"
MIB = 1024 * 1024


class Settings(CorsSettings):
    """How this process runs, from the environment (contract/resources.md 15).

    Where the reference has a name for a setting, that name works; GRAPHWIRE_<FIELD> works for every field.
    An empty variable counts as unset: compose files pass those.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        validate_by_alias=True,
        validate_by_name=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="forbid",
    )

    database_uri: str | None = Field(default=None, validation_alias="DATABASE_URI", repr=False)
    """PostgreSQL to keep everything in; without it SQLite in `data_dir`."""

    redis_uri: str | None = Field(default=None, validation_alias="REDIS_URI", repr=False)
    """Redis or Valkey that carries streams between processes; without it memory."""

    jobs_per_worker: Count = Field(default=512, validation_alias="N_JOBS_PER_WORKER")
    """Runs that one worker executes at the same time."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        default="INFO", validation_alias="LOG_LEVEL"
    )
    """Least important level that is logged, in any case."""

    log_json: bool = Field(default=False, validation_alias="LOG_JSON")
    """One JSON object a line instead of text for people."""

    run_timeout_seconds: Seconds = Field(default=86_400, validation_alias="BG_JOB_TIMEOUT_SECS")
    """Longest time one run may take."""

    run_attempts_max: Count = Field(default=3, validation_alias="BG_JOB_MAX_RETRIES")
    """Times a run is started, the first included, when its worker dies."""

    shutdown_grace_seconds: SecondsOrNone = Field(
        default=25, validation_alias="BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS"
    )
    """Time that running runs get to end when the server stops; below the 30 s that orchestrators give."""

    replay_seconds: SecondsOrNone = Field(default=120, validation_alias="RESUMABLE_STREAM_TTL_SECONDS")
    """How long a stream can still be read after its run ended."""

    body_bytes_max: Count = 32 * MIB
    """Largest request body."""

    log_bytes_max: Count = 16 * MIB
    """Most bytes that the stream of one run may hold."""

    log_entries_max: Count = 100_000
    """Most events that the stream of one run may hold."""

    logs_bytes_max: Count = 256 * MIB
    """Most bytes that all streams in memory may hold together."""

    send_timeout_seconds: Seconds = 30
    """How long a client may leave one write unread before it is disconnected."""

    heartbeat_seconds: Seconds = 5
    """Distance of the heartbeats in a stream; the JavaScript SDK learns it (contract/clients.md 5.3)."""

    data_dir: Path | None = None
    """Directory of the SQLite files; `.graphwire` beside langgraph.json when unset."""

    sqlite_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """FULL survives a power cut; NORMAL is faster and may lose the last moments in one."""

    free_bytes_min: Annotated[int, Field(ge=0)] = 64 * MIB
    """Free space on the disk of `data_dir` below which the server says that it is not ready; 0: never."""

    pending_runs_max: Count = 10_000
    """Runs that may wait for a worker before new ones are refused."""

    pending_runs_per_identity_max: Count = 1_000
    """Runs of one caller that may wait before new ones are refused."""

    crons_per_identity_max: Count = 1_000
    """Crons that one caller may have."""

    cron_interval_seconds_min: Annotated[int, Field(ge=1, le=86_400)] = 1
    """Least time between two runs of a cron."""

    isolation: Literal["graph", "shared", "run"] = "graph"
    """Which runs share an event loop: those of one graph, all, or none."""

    keep_partial_answers: bool = False
    """Whether a run that is cancelled leaves in its thread what its model had said; a cancel may differ."""

    error_text: Literal["known", "all", "none"] = "known"
    """Which texts of a graph's exceptions clients see; `known`: of the classes that the reference shows."""

    webhook_secret: SigningSecret | None = Field(default=None, repr=False)
    """Signs webhooks: text, or base64 after `whsec_`; several, separated by spaces, while one is replaced."""

    webhook_networks: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(split)] = ()
    """Networks that webhooks may go to although they are not public, such as 127.0.0.0/8,10.1.0.0/16."""

    webhook_tries_max: Count = 5
    """Times a webhook is sent before it is given up."""

    webhook_wait_seconds: Seconds = 1
    """Time between the first two tries of a webhook; each further wait is six times as long, up to 5 min."""

    webhook_concurrency: Count = 16
    """Webhooks that are sent at the same time; a quarter of them to one receiver."""

    @field_validator("log_level", "sqlite_synchronous", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def load_settings() -> Settings:
    """Settings from the environment as it is now; ConfigError names each variable with a bad value."""
    try:
        return Settings()
    except ValidationError as error:
        problems = (f"{_variable(item['loc'][0])}{_shown(item)}: {item['msg']}." for item in error.errors())
        raise ConfigError("In the environment: " + " ".join(problems)) from error


def _shown(problem: Any) -> str:
    """The value that is wrong, unless it is a secret."""
    field = Settings.model_fields.get(str(problem["loc"][0]))
    return "" if field is not None and not field.repr else f"={problem['input']!r}"


def _variable(key: int | str) -> str:
    """The environment variable behind a location in a ValidationError."""
    name = str(key)
    return PREFIX + name.upper() if name in Settings.model_fields else name
