"""API keys: who sends one of them in `x-api-key` or as a bearer token is the user it was given to."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import Unauthorized
from ..rules.credentials import ApiKey
from ..rules.users import Authenticated, User
from .authenticator import Authenticator

HEADERS = frozenset({"headers"})
LENGTH_MAX = 16_384  # of a credential


def bearer(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The token of the Authorization header (RFC 6750)."""
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and 0 < len(token) <= LENGTH_MAX else None


class ApiKeys:
    """Knows users by keys. What is neither of a known key is for `others`, if there are any."""

    wants = HEADERS

    def __init__(self, keys: Sequence[ApiKey], others: Authenticator | None = None) -> None:
        self._keys = {key.digest: key for key in keys}
        self._others = others

    async def authenticate(self, given: Mapping[str, Any]) -> Authenticated:
        headers = given["headers"]
        sent = headers.get(b"x-api-key")
        key = self._find(sent if sent is not None else bearer(headers))
        if key is not None:
            return Authenticated(User(key.user), key.permissions)
        if sent is None and self._others is not None:
            return await self._others.authenticate(given)
        raise Unauthorized

    def _find(self, sent: bytes | None) -> ApiKey | None:
        """How long it takes tells nothing of a key: what is looked for is the hash of what was sent."""
        if sent is None or not 0 < len(sent) <= LENGTH_MAX:
            return None
        digest = hashlib.sha256(sent).digest()
        found = self._keys.get(digest)
        return found if found is not None and hmac.compare_digest(found.digest, digest) else None
