"""`http` of langgraph.json and what the environment says about it, checked (contract/resources.md 11).

A part of `config`, with `config.cors` for its key `cors`.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    ValidationError,
)
from pydantic_settings import NoDecode

from ..errors import ConfigError
from ..rules.http import GROUPS, HeaderChoice, HttpRules
from .cors import CorsSettings, cors_rules, split

LOCALHOST = ("localhost", "*.localhost", "127.0.0.1", "[::1]")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]")
_GLOB = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~?\[\]-]+")


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError(f'"{text}" is no prefix: begin with a slash, as in "/api"')
    return prefix


def _target(text: str) -> str:
    module, _, variable = text.rpartition(":")
    if not module or not variable.isidentifier():
        raise ValueError(f'is "{text}": write file, colon and variable, as in "./webapp.py:app"')
    return text


def _globs(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _GLOB.fullmatch(name):
            raise ValueError(f'"{name}" is no name of a header')
    return names


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOST.fullmatch(name):
            raise ValueError(f'"{name}" is no host: write a name or an address, without scheme and port')
    return tuple(name.lower() for name in names)


Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split), AfterValidator(_hosts)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Target = Annotated[str, AfterValidator(_target)]
Globs = Annotated[tuple[str, ...], AfterValidator(_globs)]


class HttpSettings(CorsSettings):
    """The part of the settings that is about HTTP."""

    mount_prefix: Prefix | None = Field(default=None, validation_alias="MOUNT_PREFIX")
    """Path under which everything lies, such as `/api`; it wins over `http.mount_prefix`."""

    allowed_hosts: Hosts = ()
    """Names under which the server may be called, separated by commas; `*` all, `*.x` those below x."""

    require_json: bool = True
    """Whether a request with a body must say `Content-Type: application/json`."""

    head_bytes_max: Annotated[int, Field(ge=1024, le=1024 * 1024)] = 32 * 1024
    """Largest head of a request: its first line and its headers."""

    receive_timeout_seconds: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 15
    """Time in which a request's head must come, and a kilobyte of its body for each second of it."""


class _Choice(BaseModel):
    """Headers by name or glob; a page of the reference's documentation leaves the s out."""

    includes: Globs = Field(default=(), validation_alias=AliasChoices("includes", "include"))
    excludes: Globs = Field(default=(), validation_alias=AliasChoices("excludes", "exclude"))

    def choice(self) -> HeaderChoice:
        return HeaderChoice(self.includes, self.excludes)


class _File(BaseModel):
    """`http` besides `cors`. What it does not know is ignored, as on the reference."""

    app: Target | None = None
    mount_prefix: Prefix | None = None
    middleware_order: Literal["middleware_first", "auth_first"] | None = None
    enable_custom_route_auth: StrictBool | None = None
    configurable_headers: _Choice | None = None
    logging_headers: _Choice | None = None
    disable_assistants: StrictBool | None = None
    disable_threads: StrictBool | None = None
    disable_runs: StrictBool | None = None
    disable_store: StrictBool | None = None
    disable_mcp: StrictBool | None = None
    disable_a2a: StrictBool | None = None
    disable_ui: StrictBool | None = None
    disable_meta: StrictBool | None = None
    disable_webhooks: StrictBool | None = None


def http_rules(
    file: Path, http: Any, settings: HttpSettings, *, local: bool = False, studio: str | None = None
) -> HttpRules:
    """The rules of a langgraph.json with those of the environment. Raises ConfigError for the first problem.

    `local`: the server listens on loopback, so who names another host was led here (reliability B3).
    `studio`: the address of a page that is meant to call, beside those that may.
    """
    said = _said(file, http)
    cors = cors_rules(file, http, settings)
    if studio and "*" not in cors.origins:
        cors = replace(cors, origins=(*cors.origins, "/".join(studio.split("/")[:3])))
    prefix = settings.mount_prefix if settings.mount_prefix is not None else said.mount_prefix
    return HttpRules(
        cors=cors,
        app=said.app,
        prefix=prefix or "",
        disabled=frozenset(name for name in GROUPS if getattr(said, f"disable_{name}")),
        auth_first=said.middleware_order == "auth_first",
        custom_routes_authenticated=bool(said.enable_custom_route_auth),
        configurable_headers=(said.configurable_headers or _Choice()).choice(),
        logged_headers=(said.logging_headers or _Choice()).choice(),
        hosts=_allowed(settings.allowed_hosts, local=local),
        probes_by_any_host=not local,
        json_only=settings.require_json,
    )


def _allowed(configured: tuple[str, ...], *, local: bool) -> tuple[str, ...]:
    if "*" in configured or not (configured or local):
        return ()
    return (*LOCALHOST, *configured)


def sends_webhooks(http: Any) -> bool:
    """Whether `http` leaves webhooks on; what is wrong with it `http_rules` says."""
    return not (isinstance(http, dict) and http.get("disable_webhooks") is True)


def _said(file: Path, http: Any) -> _File:
    """What the file says, checked."""
    if not isinstance(http, dict | None):
        raise ConfigError(f'{file}: "http" must be an object.')
    try:
        return _File.model_validate(http or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f'{file}: "http.{key}": {first["msg"]}.') from error
