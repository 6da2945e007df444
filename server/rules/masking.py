"""Secrets in settings, which graphs need and nobody has to read again (reliability L2)."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET = frozenset(
    {"apikey", "authorization", "credential", "credentials", "key", "keys", "passwd", "password", "passwords"}
    | {"secret", "secrets", "token", "tokens"}
)


def masked(value: Any) -> Any:
    """The value with `***` in the place of texts under names such as `api_key`, `githubToken`, `password`.

    By whole words of the name: `keywords` and `max_tokens: 5` stay. What holds none is returned as it is.
    """
    if not isinstance(value, Mapping):
        return value
    found = {key: MASK if _is_secret(key, item) else masked(item) for key, item in value.items()}
    return found if any(found[key] is not item for key, item in value.items()) else value


def _is_secret(key: Any, item: Any) -> bool:
    if not isinstance(key, str) or not isinstance(item, str) or not item:
        return False
    return any(word.lower() in _SECRET for word in _WORDS.findall(key))
