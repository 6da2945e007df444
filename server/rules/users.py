"""The noun of authentication: a user, as handlers and graphs meet it (contract/resources.md 10.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import orjson

IDENTITY_LENGTH_MAX = 512
STORED_BYTES_MAX = 64 * 1024  # of what is kept with each of a user's runs
_STANDARD = ("identity", "display_name", "is_authenticated", "permissions")


class NoUser(Exception):
    """What authentication returned is nobody who may come in."""


class User(dict[str, Any]):
    """What is known of a user: `user["x"]` and `user.x`, `.get`, `.keys()`, `"x" in user`, `dict(user)`.

    Made of an object it has the attributes and methods of that object too.
    """

    __slots__ = ("_original",)

    def __init__(self, known: Mapping[str, Any], original: object = None) -> None:
        super().__init__({"display_name": known["identity"], "is_authenticated": True, **known})
        self._original = original

    @property
    def identity(self) -> str:
        return str(self["identity"])

    @property
    def display_name(self) -> str:
        return str(self["display_name"])

    @property
    def is_authenticated(self) -> bool:
        return bool(self["is_authenticated"])

    @property
    def permissions(self) -> list[str]:
        return list(self.get("permissions") or ())

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if not name.startswith("__") and self._original is not None:
            return getattr(self._original, name)
        raise AttributeError(f"the user has no {name!r}")

    def __copy__(self) -> "User":
        return User(self, self._original)

    def __deepcopy__(self, memo: object) -> "User":
        return User(self, self._original)

    def __reduce__(self) -> tuple[type["User"], tuple[dict[str, Any]]]:
        return User, (dict(self),)  # the object of its author may not want to be copied


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Who a request comes from. `expires_at`: seconds since 1970 until which that is known; None, unknown."""

    user: User
    permissions: tuple[str, ...] = ()
    expires_at: float | None = None


def authenticated(result: Any) -> Authenticated:
    """What a handler returned: an identity, a mapping or an object that has one, (permissions, one of these).

    Raises NoUser for everything else, and for who says of himself that he is not authenticated.
    """
    permissions: Any = None
    if isinstance(result, tuple) and len(result) == 2:
        permissions, result = result
    user = _user(result)
    if not user.is_authenticated:
        raise NoUser("is_authenticated is false")
    own = user.get("permissions") if permissions is None else permissions
    listed = _words(own)
    if listed or own is not None:
        user["permissions"] = list(listed)
    return Authenticated(user, listed)


def _user(result: Any) -> User:
    if isinstance(result, str):
        known: Mapping[str, Any] = {"identity": result}
        original = None
    elif isinstance(result, Mapping):
        known, original = dict(result), None
    else:
        known = {name: found for name in _STANDARD if (found := getattr(result, name, None)) is not None}
        original = result
    identity = known.get("identity")
    if not isinstance(identity, str) or not 0 < len(identity) <= IDENTITY_LENGTH_MAX or "\0" in identity:
        raise NoUser("there is no identity, a text of 1 to 512 characters")
    return User(known, original)


def _words(permissions: Any) -> tuple[str, ...]:
    if permissions is None:
        return ()
    if isinstance(permissions, str) or not isinstance(permissions, Iterable):
        raise NoUser("permissions are not a list of texts")
    found = tuple(permissions)
    if not all(isinstance(word, str) for word in found):
        raise NoUser("permissions are not a list of texts")
    return found


def stored(user: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A user as JSON, to be kept with his runs. Raises ValueError for one that is too large."""
    if user is None:
        return None
    fields = dict(user)
    if isinstance(user, User) and user._original is not None:
        fields = {**_fields(user._original), **fields}
    data = orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS)
    if len(data) > STORED_BYTES_MAX:
        raise ValueError(f"a user may be {STORED_BYTES_MAX} bytes of JSON, this one is {len(data)}")
    found: dict[str, Any] = orjson.loads(data)
    return found


def _fields(original: object) -> dict[str, Any]:
    """What an object shows of itself, so that graphs find it where they run."""
    if callable(dump := getattr(original, "model_dump", None)):
        found = dump()
    elif is_dataclass(original) and not isinstance(original, type):
        found = asdict(original)
    else:
        found = getattr(original, "__dict__", {})
    return {name: value for name, value in found.items() if not name.startswith("_")}
