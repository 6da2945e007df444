"""The nouns of the `auth` section: by what callers are known, and what that section says besides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key and whose it is. Of the key itself only its SHA-256 is kept."""

    digest: bytes
    user: Mapping[str, Any]
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JwtRules:
    """Which tokens are taken (RFC 7519). `jwks` is a URL, or a file where `local` says so."""

    issuer: str
    audience: tuple[str, ...]
    jwks: str
    local: bool = False
    algorithms: tuple[str, ...] = ("RS256",)
    leeway_seconds: float = 30.0
    identity_claim: str = "sub"
    permissions_claim: str = "scope"
    refresh_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class AuthRules:
    """`auth` of langgraph.json with the keys of the environment (contract/resources.md 10, 12)."""

    path: str | None = None
    keys: tuple[ApiKey, ...] = field(default=(), repr=False)
    jwt: JwtRules | None = None
    unmatched: Literal["owner", "allow"] = "owner"
    public_info: bool = False
    openapi: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configured(self) -> bool:
        """Whether anybody has to say who he is."""
        return self.path is not None or bool(self.keys) or self.jwt is not None
