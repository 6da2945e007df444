"""`webhooks` of langgraph.json, and the secret that signs, checked (contract/resources.md 12).

A part of `config`, which hands in the file and the environment; seen by nobody else.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from ..errors import ConfigError
from ..models import Network, WebhookRules

SECRET_BYTES_MIN = 16
ENV_PREFIX = "LG_WEBHOOK_"
URL_LENGTH_MAX = 65_536
# What the delivery itself decides.
RESERVED = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    }
)
_TEMPLATE = re.compile(r"\$\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_DOMAIN = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]+")
_KEYS = frozenset({"env_prefix", "headers", "url"})
_URL_KEYS = frozenset(
    {"require_https", "allowed_domains", "allowed_ports", "max_url_length", "disable_loopback"}
)


def signing_keys(secret: str) -> tuple[bytes, ...]:
    """The keys behind a secret, the newest first: several are separated by spaces while one replaces another.

    `whsec_…` is base64, as Standard Webhooks has it; any other text is its own UTF-8. Raises ValueError.
    """
    keys = tuple(_key(text) for text in secret.split())
    if not keys:
        raise ValueError("must not be blank")
    return keys


def _can_sign(secret: str) -> str:
    signing_keys(secret)
    return secret


SigningSecret = Annotated[str, AfterValidator(_can_sign)]


def _key(text: str) -> bytes:
    if text.startswith("whsec_"):
        try:
            key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("what follows whsec_ must be base64") from None
    else:
        key = text.encode()
    if len(key) < SECRET_BYTES_MIN:
        raise ValueError(f"a secret of less than {SECRET_BYTES_MIN} bytes can be guessed: take a longer one")
    return key


def webhook_rules(
    file: Path, value: Any, environment: Mapping[str, str], networks: tuple[Network, ...]
) -> WebhookRules:
    """The rules of a langgraph.json. `networks` are allowed besides. Raises ConfigError."""
    webhooks = _object(file, "webhooks", {} if value is None else value, _KEYS)
    url = _object(file, "webhooks.url", webhooks.get("url", {}), _URL_KEYS)
    return WebhookRules(
        headers=_headers(file, webhooks, environment),
        require_https=_flag(file, "require_https", url, default="url" in webhooks),
        allowed_domains=_domains(file, url.get("allowed_domains", [])),
        allowed_ports=_ports(file, url.get("allowed_ports", [])),
        url_length_max=_length(file, url.get("max_url_length", URL_LENGTH_MAX)),
        loopback=not _flag(file, "disable_loopback", url, default=True),
        networks=networks,
    )


def _wrong(file: Path, key: str, problem: str) -> ConfigError:
    return ConfigError(f'{file}: "{key}" {problem}')


def _object(file: Path, key: str, value: Any, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(file, key, "must be an object.")
    # A rule with a typing error in its name would protect nobody.
    if unknown := sorted(set(value) - known):
        raise _wrong(file, f"{key}.{unknown[0]}", f"is unknown: take one of {', '.join(sorted(known))}.")
    return {name: item for name, item in value.items() if item is not None}


def _flag(file: Path, key: str, url: dict[str, Any], *, default: bool) -> bool:
    value = url.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(file, f"webhooks.url.{key}", "must be true or false.")
    return value


def _domains(file: Path, value: Any) -> tuple[str, ...]:
    key = "webhooks.url.allowed_domains"
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise _wrong(file, key, 'must be a list of strings, such as ["example.com", "*.example.com"].')
    domains = tuple(entry.lower().rstrip(".") for entry in value)
    for domain in domains:
        if not _DOMAIN.fullmatch(domain):
            raise _wrong(file, key, f'has "{domain}": write a host in ASCII, or "*." and a domain.')
    return domains


def _ports(file: Path, value: Any) -> tuple[int, ...]:
    valid = isinstance(value, list) and all(type(port) is int and 1 <= port <= 65_535 for port in value)
    if not valid:
        raise _wrong(file, "webhooks.url.allowed_ports", "must be a list of ports, such as [443].")
    return tuple(value)


def _length(file: Path, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= URL_LENGTH_MAX:
        raise _wrong(file, "webhooks.url.max_url_length", f"must be a number from 1 to {URL_LENGTH_MAX}.")
    return value


def _headers(file: Path, webhooks: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    prefix = webhooks.get("env_prefix", ENV_PREFIX)
    if not isinstance(prefix, str) or not prefix:
        raise _wrong(file, "webhooks.env_prefix", f'must be a string, such as "{ENV_PREFIX}".')
    headers = webhooks.get("headers", {})
    if not isinstance(headers, dict):
        raise _wrong(file, "webhooks.headers", "must be an object of strings.")
    return {name.lower(): _header(file, name, value, prefix, environment) for name, value in headers.items()}


def _header(file: Path, name: str, value: Any, prefix: str, environment: Mapping[str, str]) -> str:
    key = f"webhooks.headers.{name}"
    if not _TOKEN.fullmatch(name):
        raise _wrong(file, key, "is no name of a header: use letters, digits and dashes.")
    if name.lower() in RESERVED:
        raise _wrong(file, key, "is set by the server: remove it.")
    if not isinstance(value, str):
        raise _wrong(file, key, "must be a string.")

    def variable(found: re.Match[str]) -> str:
        wanted = found[1]
        if not wanted.startswith(prefix):
            problem = f"names {wanted}: only variables that begin with {prefix} may be sent (env_prefix)."
            raise _wrong(file, key, problem)
        if wanted not in environment:
            raise _wrong(file, key, f"names {wanted}, which is not set: set it in the environment or in env.")
        return environment[wanted]

    text = _TEMPLATE.sub(variable, value)
    if "${{" in _TEMPLATE.sub("", value):
        raise _wrong(file, key, "has a template that is none: write ${{ env.NAME }}.")
    if not _VALUE.fullmatch(text):  # without the value: it may be a secret
        raise _wrong(file, key, "holds characters that a header cannot: use printable ASCII.")
    return text.strip()
