"""`auth.path` of langgraph.json -> the user's Auth object (contract/resources.md 10, 12)."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph_sdk import Auth

from ..errors import AuthLoadError
from .loader import Unfit, explained, variable_of

Handler = Callable[..., Awaitable[Any]]

# What `authenticate` may ask for, each by its name.
PARAMETERS = ("request", "path", "method", "path_params", "query_params", "headers", "authorization")


@dataclass(frozen=True, slots=True)
class UserAuth:
    """What the user's code decides: who somebody is, if it does, and who may do what."""

    auth: Auth
    authenticate: Callable[..., Any] | None
    wants: frozenset[str]

    @property
    def decides(self) -> bool:
        """Whether there is any handler of authorisation."""
        return bool(self.auth._handlers or self.auth._global_handlers)

    def handler(self, resource: str, action: str) -> Handler | None:
        """The one handler that is asked: that of the action, of the resource, of the action anywhere, any."""
        for key in ((resource, action), (resource, "*"), ("*", action)):
            if found := self.auth._handlers.get(key):
                return found[-1]
        return self.auth._global_handlers[-1] if self.auth._global_handlers else None


def load_auth(target: str, root: Path) -> UserAuth:
    """Import what `target` names; file paths count from `root`. Raises AuthLoadError."""
    with explained(f'"auth.path" of langgraph.json ({target})', root, AuthLoadError):
        found = variable_of(target, root, lambda module: _auths_in(vars(module)))
        if not isinstance(found, Auth):
            raise Unfit(f"it is a {type(found).__name__}; name an Auth object of langgraph_sdk.")
        authenticate = found._authenticate_handler
        wants = frozenset[str]() if authenticate is None else _wants(authenticate)
        return UserAuth(found, authenticate, wants)


def _auths_in(variables: dict[str, Any]) -> str:
    found = [name for name, value in variables.items() if isinstance(value, Auth)]
    return f"; it has {', '.join(found)}" if found else ""


def _wants(authenticate: Callable[..., Any]) -> frozenset[str]:
    """The names of its parameters that it gets. Raises Unfit for one that nobody can fill."""
    wanted: set[str] = set()
    for parameter in inspect.signature(authenticate).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            wanted.update(PARAMETERS)
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in PARAMETERS and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            wanted.add(parameter.name)
        elif parameter.default is inspect.Parameter.empty:
            known = ", ".join(PARAMETERS)
            raise Unfit(f'its authenticate asks for "{parameter.name}"; it can ask for {known}.')
    return frozenset(wanted)
