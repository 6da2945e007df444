"""JSON Web Tokens of an OpenID provider: signed by one of its keys, for us, and not expired (RFC 7519, 8725).

Which algorithms are taken is ours to say, not the token's. The provider's keys are fetched when they are
needed and kept; that somebody sends tokens of unknown keys does not make us fetch them again and again.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
import orjson
import structlog

from ..errors import Overloaded, Unauthorized
from ..rules.credentials import JwtRules
from ..rules.users import Authenticated, NoUser, authenticated
from .keys import HEADERS, bearer

FETCH_SECONDS = 5.0
FETCH_AGAIN_SECONDS = 10.0  # at the earliest, whatever keys tokens name
BYTES_MAX = 2**20
KEYS_MAX = 1_000
_log = structlog.get_logger(__name__)


class Tokens:
    """Knows users by tokens."""

    wants = HEADERS

    def __init__(self, rules: JwtRules, keys: "Keys") -> None:
        self._rules = rules
        self._keys = keys

    async def authenticate(self, given: Mapping[str, Any]) -> Authenticated:
        token = bearer(given["headers"])
        if token is None:
            raise Unauthorized
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(header.get("kid"), str(header.get("alg")))
            claims = self._claims(token, key)
            return self._user(claims)
        except (jwt.PyJWTError, NoUser) as wrong:
            _log.info("a token is refused", reason=str(wrong))
            raise Unauthorized from None

    def _claims(self, token: bytes, key: jwt.PyJWK) -> dict[str, Any]:
        rules = self._rules
        found: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(rules.algorithms),
            audience=list(rules.audience),
            issuer=rules.issuer,
            leeway=rules.leeway_seconds,
            options={"require": ["exp", "iss", "aud"], "strict_aud": False},
        )
        return found

    def _user(self, claims: dict[str, Any]) -> Authenticated:
        """All claims are known of the user; permissions are a list, or words as in `scope` (RFC 8693)."""
        identity, listed = (
            claims.get(name) for name in (self._rules.identity_claim, self._rules.permissions_claim)
        )
        words = listed.split() if isinstance(listed, str) else listed or []
        named = {"display_name": claims["name"]} if isinstance(claims.get("name"), str) else {}
        own = {"identity": identity, "is_authenticated": True, **named}
        who = authenticated({**claims, **own, "permissions": words})
        return Authenticated(who.user, who.permissions, float(claims["exp"]) + self._rules.leeway_seconds)


class Keys:
    """The keys that a provider signs with, from its URL or a file."""

    def __init__(self, rules: JwtRules) -> None:
        self._rules = rules
        self._keys: dict[str | None, list[dict[str, Any]]] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    def read(self) -> None:
        """The keys of a file. Raises ValueError for what is no set of keys, OSError."""
        with open(self._rules.jwks, "rb") as file:
            self._take(file.read(BYTES_MAX + 1))

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key of that name for that algorithm. Raises PyJWTError, Overloaded when none can be had."""
        if algorithm not in self._rules.algorithms:
            raise jwt.InvalidAlgorithmError("the algorithm is not among those that are taken")
        if not self._rules.local and self._is_old(kid):
            await self._refresh(kid)
        fitting = [key for key in self._keys.get(kid, []) if key.get("alg", algorithm) == algorithm]
        if kid is None and not fitting:
            every = [key for keys in self._keys.values() for key in keys]
            fitting = [key for key in every if key.get("alg", algorithm) == algorithm]
        if len(fitting) != 1:
            raise jwt.InvalidKeyError("there is no such key")
        return jwt.PyJWK(fitting[0], algorithm)

    def _is_old(self, kid: str | None) -> bool:
        unknown = kid is not None and kid not in self._keys
        return unknown or not self._keys or time.monotonic() - self._fetched_at > self._rules.refresh_seconds

    async def _refresh(self, kid: str | None) -> None:
        """Fetch the keys, one at a time and not too often. Those there are stay if that fails."""
        async with self._lock:
            if time.monotonic() - self._tried_at >= FETCH_AGAIN_SECONDS and self._is_old(kid):
                self._tried_at = time.monotonic()
                try:
                    self._take(await self._fetch())
                except (httpx.HTTPError, ValueError, TimeoutError) as failure:
                    _log.error(
                        "the keys of tokens cannot be fetched", url=self._rules.jwks, error=str(failure)
                    )
            if not self._keys:
                raise Overloaded("The keys to check tokens with cannot be fetched; try again later")

    async def _fetch(self) -> bytes:
        data = b""
        async with (
            asyncio.timeout(FETCH_SECONDS),
            httpx.AsyncClient(trust_env=False) as client,
            client.stream("GET", self._rules.jwks) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"status {answer.status_code}")
            async for part in answer.aiter_bytes():
                data += part
                if len(data) > BYTES_MAX:
                    break
        return data

    def _take(self, data: bytes) -> None:
        """Keys for signatures, by name. Raises ValueError."""
        found = orjson.loads(data) if len(data) <= BYTES_MAX else None
        keys = found.get("keys") if isinstance(found, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= KEYS_MAX:
            raise ValueError("it holds no set of keys")
        named: dict[str | None, list[dict[str, Any]]] = {}
        for key in keys:
            # Symmetric keys do not belong into a public set, and must not be taken from one.
            if (
                isinstance(key, dict)
                and key.get("use", "sig") == "sig"
                and key.get("kty") in ("RSA", "EC", "OKP")
            ):
                named.setdefault(key.get("kid"), []).append(key)
        if not named:
            raise ValueError("it holds no key that signs")
        self._keys, self._fetched_at = named, time.monotonic()
