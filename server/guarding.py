"""`auth` of langgraph.json -> who comes in, and who may do what. Whatever is broken in it stops the start."""

from dataclasses import dataclass

from .auth.authenticator import Authenticator, UserCode
from .auth.keys import ApiKeys
from .auth.tokens import Keys, Tokens
from .backend import Gate
from .config.auth import VARIABLE, auth_rules
from .config.project import Project
from .config.settings import Settings
from .errors import ConfigError
from .graph.auth import UserAuth, load_auth
from .rules.credentials import AuthRules, JwtRules
from .services.authorization import OPEN, Authorization, Rules
from .services.resolution import automatic_id

PUBLIC = frozenset({"/ok"})


@dataclass(frozen=True, slots=True)
class Guard:
    """What the doors and the services ask."""

    gate: Gate | None
    authorization: Authorization


def guarded(project: Project, settings: Settings) -> Guard:
    """Who has to say who he is, and what he may do then. Raises ConfigError, AuthLoadError."""
    rules = auth_rules(project.path, project.raw.get("auth"), settings.api_keys)
    if not rules.configured:
        return Guard(None, OPEN)
    user_auth = None if rules.path is None else load_auth(rules.path, project.root)
    public = PUBLIC | {"/info"} if rules.public_info else PUBLIC
    gate = Gate(_authenticator(rules, user_auth), public, dict(rules.openapi))
    shared = [automatic_id(graph.graph_id) for graph in project.graphs]
    handler = user_auth.handler if user_auth is not None else _none
    return Guard(gate, Rules(handler, shared, owners=rules.unmatched == "owner"))


def _none(resource: str, action: str) -> None:
    """Where the user has no code there are no handlers."""


def _authenticator(rules: AuthRules, user_auth: UserAuth | None) -> Authenticator:
    """The user's code, or what needs none: it must be plain which of the two decides."""
    built_in = bool(rules.keys) or rules.jwt is not None
    if user_auth is not None and user_auth.authenticate is not None:
        if built_in:
            raise ConfigError(
                f'"auth.path" authenticates by itself: drop its authenticate, or auth.jwt and {VARIABLE}.'
            )
        return UserCode(user_auth.authenticate, user_auth.wants)
    if not built_in:
        raise ConfigError(
            f'The Auth object of "auth.path" ({rules.path}) has no authenticate: add one, decorated with '
            f"@auth.authenticate, or set auth.jwt or {VARIABLE}."
        )
    tokens = None if rules.jwt is None else _tokens(rules.jwt)
    return ApiKeys(rules.keys, tokens) if rules.keys or tokens is None else tokens


def _tokens(rules: JwtRules) -> Tokens:
    keys = Keys(rules)
    if rules.local:
        try:
            keys.read()
        except (OSError, ValueError) as wrong:
            raise ConfigError(f'"auth.jwt.jwks_file" ({rules.jwks}) cannot be used: {wrong}.') from wrong
    return Tokens(rules, keys)
