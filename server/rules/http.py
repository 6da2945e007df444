"""How the HTTP door behaves: the rules that `http` of langgraph.json and the settings make for it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache

from .cors import CorsRules

# What `disable_<name>` of `http` turns off (contract/resources.md 11).
GROUPS = ("assistants", "threads", "runs", "store", "mcp", "a2a", "ui", "meta", "webhooks")

# Keys to a server, not facts about a request: they go into no run and into no log, whatever is asked for.
SECRET = frozenset({"x-api-key"})
SECRET_IN_LOGS = SECRET | {"authorization", "cookie", "proxy-authorization"}


@dataclass(frozen=True, slots=True)
class HeaderChoice:
    """Which headers of a request are taken: names or globs, in any case. What is excluded stays out."""

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def take(self, headers: Iterable[tuple[bytes, bytes]], never: frozenset[str] = SECRET) -> dict[str, str]:
        """Name in lower case -> value; of a header that comes twice the last."""
        if not self.includes:
            return {}
        wanted, unwanted = _globs(self.includes), _globs(self.excludes)
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        return {
            name: value
            for name, value in found.items()
            if name not in never and wanted.fullmatch(name) and not unwanted.fullmatch(name)
        }


@cache
def _globs(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(name.lower()) for name in names) or r"(?!)")


@dataclass(frozen=True, slots=True)
class HttpRules:
    """Made by `config.http`, kept by the door."""

    cors: CorsRules = field(default_factory=CorsRules)
    app: str | None = None  # "file.py:variable", a Starlette or FastAPI of the user
    prefix: str = ""  # "/api": everything lies under it
    disabled: frozenset[str] = frozenset()  # some of GROUPS
    auth_first: bool = False  # whether the user's middleware comes after authentication
    custom_routes_authenticated: bool = False
    configurable_headers: HeaderChoice = field(default_factory=HeaderChoice)
    logged_headers: HeaderChoice = field(default_factory=HeaderChoice)
    hosts: tuple[str, ...] = ()  # names that `Host` may have, `*.x` for all below x; none: any
    probes_by_any_host: bool = False  # whether /ok is answered whatever `Host` says
    json_only: bool = True  # whether a body must say that it is JSON
