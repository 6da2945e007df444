"""`http` of langgraph.json and what the environment says about it, checked (contract/resources.md 11).

A part of `config`, with `cors_config` for its key `cors`.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, Field, StrictBool, ValidationError

from .cors_config import CorsSettings, cors_rules
from .errors import ConfigError
from .http_rules import GROUPS, HeaderChoice, HttpRules

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
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


Prefix = Annotated[str, AfterValidator(_prefix)]
Target = Annotated[str, AfterValidator(_target)]
Globs = Annotated[tuple[str, ...], AfterValidator(_globs)]


class HttpSettings(CorsSettings):
    """The part of the settings that is about HTTP."""

    mount_prefix: Prefix | None = Field(default=None, validation_alias="MOUNT_PREFIX")
    """Path under which everything lies, such as `/api`; it wins over `http.mount_prefix`."""


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


def http_rules(file: Path, http: Any, settings: HttpSettings) -> HttpRules:
    """The rules of a langgraph.json with those of the environment. Raises ConfigError with every problem."""
    said, problems = _said(file, http)
    try:
        cors = cors_rules(file, http, settings)
    except ConfigError as error:
        problems.append(error.message)
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
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
    )


def sends_webhooks(http: Any) -> bool:
    """Whether `http` leaves webhooks on; what is wrong with it `http_rules` says."""
    return not (isinstance(http, dict) and http.get("disable_webhooks") is True)


def _said(file: Path, http: Any) -> tuple[_File, list[str]]:
    """What the file says, and what is wrong with it."""
    if not isinstance(http, dict | None):
        return _File(), [f'{file}: "http" must be an object.']
    try:
        return _File.model_validate(http or {}), []
    except ValidationError as error:
        return _File(), [f'{file}: "http.{_key(item)}": {item["msg"]}.' for item in error.errors()]


def _key(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"])
