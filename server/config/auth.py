"""`auth` of langgraph.json and the API keys of the environment, checked (contract/resources.md 10, 12).

A part of `config`, which hands in the environment; seen by `wiring` alone. What is written wrong here must
not protect less than its author believes: so unknown keys are errors.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..rules.credentials import ALGORITHMS, ApiKey, AuthRules, JwtRules
from ..rules.users import NoUser, authenticated

KEY_LENGTH_MIN = 16
KEYS_MAX = 10_000
LEEWAY_SECONDS_MAX = 300.0
_KEYS = frozenset({"path", "disable_studio_auth", "openapi", "cache", "jwt", "unmatched", "public_info"})
_JWT = frozenset(
    {
        "issuer",
        "audience",
        "jwks_url",
        "jwks_file",
        "algorithms",
        "leeway_seconds",
        "identity_claim",
        "permissions_claim",
        "refresh_seconds",
    }
)
_CACHE = frozenset({"cache_keys", "ttl_seconds", "max_size"})
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
VARIABLE = "GRAPHWIRE_API_KEYS"


def auth_rules(file: Path, value: Any, api_keys: str | None) -> AuthRules:
    """The rules of a langgraph.json; `api_keys` is the JSON of the environment. Raises ConfigError."""
    auth = _object(file, "auth", value, _KEYS)
    _flag(file, "disable_studio_auth", auth)  # the header of Studio opens nothing here, whatever is said
    _object(file, "auth.cache", auth.get("cache"), _CACHE)
    unmatched = auth.get("unmatched", "owner")
    if unmatched not in ("owner", "allow"):
        raise _wrong(file, "auth.unmatched", 'must be "owner" or "allow".')
    openapi = auth.get("openapi", {})
    if not isinstance(openapi, dict):
        raise _wrong(file, "auth.openapi", "must be an object.")
    rules = AuthRules(
        path=_path(file, auth.get("path")),
        keys=_api_keys(api_keys),
        jwt=_jwt(file, auth.get("jwt")),
        unmatched=unmatched,
        public_info=_flag(file, "public_info", auth),
        openapi=openapi,
    )
    if auth and not rules.configured:
        problem = f'protects nothing: name an Auth object in "path", or "jwt", or set {VARIABLE}.'
        raise _wrong(file, "auth", problem)
    return rules


def _path(file: Path, path: Any) -> str | None:
    if path is None:
        return None
    if not isinstance(path, str) or not all(path.rpartition(":")[::2]):
        raise _wrong(file, "auth.path", 'must be file, colon and variable, such as "./auth.py:auth".')
    if not path.rpartition(":")[2].isidentifier():
        raise _wrong(file, "auth.path", f'is "{path}": what stands behind the colon is no variable.')
    return path


# --- API keys: {identity: key, or {"key" or "sha256", "permissions", whatever else is known of the user}} ---


def _api_keys(text: str | None) -> tuple[ApiKey, ...]:
    """Without the text in any message: it holds secrets."""
    if text is None or not text.strip():
        return ()
    try:
        given = json.loads(text)
    except ValueError:
        raise ConfigError(f"In the environment: {VARIABLE} must be JSON.") from None
    if not isinstance(given, dict) or not 1 <= len(given) <= KEYS_MAX:
        raise ConfigError(f"In the environment: {VARIABLE} must be an object, identity to key.")
    keys = tuple(_api_key(identity, entry) for identity, entry in given.items())
    if len({key.digest for key in keys}) < len(keys):
        raise ConfigError(f"In the environment: {VARIABLE} gives one key to two users.")
    return keys


def _api_key(identity: str, entry: Any) -> ApiKey:
    where = f"In the environment: {VARIABLE}[{identity!r}]"
    fields = {"key": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict) or ("key" in fields) == ("sha256" in fields):
        raise ConfigError(f'{where} must be a key, or an object with either "key" or "sha256".')
    known = {name: value for name, value in fields.items() if name not in ("key", "sha256")}
    try:
        who = authenticated({**known, "identity": identity})
    except NoUser as wrong:
        raise ConfigError(f"{where}: {wrong}.") from None
    return ApiKey(_digest(where, fields), who.user, who.permissions)


def _digest(where: str, fields: Mapping[str, Any]) -> bytes:
    key, digest = fields.get("key"), fields.get("sha256")
    if digest is not None:
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise ConfigError(f"{where}: sha256 must be 64 hexadecimal digits.")
        return bytes.fromhex(digest)
    if not isinstance(key, str) or len(key) < KEY_LENGTH_MIN or not key.isascii() or not key.isprintable():
        raise ConfigError(f"{where}: a key has at least {KEY_LENGTH_MIN} printable ASCII characters.")
    return hashlib.sha256(key.encode()).digest()


# --- tokens -------------------------------------------------------------------------------------------------


def _jwt(file: Path, value: Any) -> JwtRules | None:
    if value is None:
        return None
    jwt = _object(file, "auth.jwt", value, _JWT)
    return JwtRules(
        issuer=_text(file, "issuer", jwt, None),
        audience=_audience(file, jwt.get("audience")),
        **_keys_of_tokens(file, jwt),
        algorithms=_algorithms(file, jwt.get("algorithms", ["RS256"])),
        leeway_seconds=_seconds(file, "leeway_seconds", jwt, 30.0, 0.0, LEEWAY_SECONDS_MAX),
        identity_claim=_text(file, "identity_claim", jwt, "sub"),
        permissions_claim=_text(file, "permissions_claim", jwt, "scope"),
        refresh_seconds=_seconds(file, "refresh_seconds", jwt, 600.0, 10.0, 86_400.0),
    )


def _keys_of_tokens(file: Path, jwt: dict[str, Any]) -> dict[str, Any]:
    url, path = jwt.get("jwks_url"), jwt.get("jwks_file")
    if (url is None) == (path is None):
        raise _wrong(file, "auth.jwt", 'needs either "jwks_url" or "jwks_file".')
    if url is not None:
        if not isinstance(url, str) or not re.match(
            r"https://|http://(localhost|127\.0\.0\.1|\[::1\])[:/]", url
        ):
            raise _wrong(file, "auth.jwt.jwks_url", "must be an https URL; http is for this machine alone.")
        return {"jwks": url}
    place = os.path.normpath(file.parent / path) if isinstance(path, str) else ""
    if not os.path.isfile(place):
        raise _wrong(file, "auth.jwt.jwks_file", "must name a file, relative to this one.")
    return {"jwks": place, "local": True}


def _audience(file: Path, value: Any) -> tuple[str, ...]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(one, str) and one for one in found):
        raise _wrong(file, "auth.jwt.audience", "must be a text or a list of texts: whom tokens are for.")
    return tuple(found)


def _algorithms(file: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not set(value) <= set(ALGORITHMS):
        raise _wrong(file, "auth.jwt.algorithms", f"must be a list among {', '.join(ALGORITHMS)}.")
    return tuple(value)


def _text(file: Path, key: str, jwt: dict[str, Any], default: str | None) -> str:
    value = jwt.get(key, default)
    if not isinstance(value, str) or not value:
        raise _wrong(file, f"auth.jwt.{key}", "must be a text.")
    return value


def _seconds(file: Path, key: str, jwt: dict[str, Any], default: float, least: float, most: float) -> float:
    value = jwt.get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= most:
        raise _wrong(file, f"auth.jwt.{key}", f"must be a number of seconds from {least:g} to {most:g}.")
    return float(value)


# ------------------------------------------------------------------------------------------------------------


def _flag(file: Path, key: str, auth: dict[str, Any]) -> bool:
    value = auth.get(key, False)
    if not isinstance(value, bool):
        raise _wrong(file, f"auth.{key}", "must be true or false.")
    return value


def _object(file: Path, key: str, value: Any, known: frozenset[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(file, key, "must be an object.")
    if unknown := sorted(set(value) - known):
        raise _wrong(file, f"{key}.{unknown[0]}", f"is unknown: take one of {', '.join(sorted(known))}.")
    return {name: item for name, item in value.items() if item is not None}


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')
