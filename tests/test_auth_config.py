"""`auth` of langgraph.json and the API keys of the environment: what is accepted, and what refusals say."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from server.config.auth import auth_rules
from server.errors import ConfigError
from server.rules.credentials import AuthRules

KEY = "a-key-of-some-length"


def rules(auth: Any = None, keys: Any = None, folder: Path = Path("/x")) -> AuthRules:
    return auth_rules(
        folder / "langgraph.json", auth, keys if keys is None or isinstance(keys, str) else json.dumps(keys)
    )


def test_without_a_section_and_keys_nobody_is_asked() -> None:
    assert not rules().configured
    assert rules() == AuthRules()


def test_all_of_the_references_section_is_read() -> None:
    found = rules(
        {
            "path": "./auth.py:auth",
            "disable_studio_auth": True,
            "openapi": {"security": []},
            "cache": {"cache_keys": ["authorization"], "ttl_seconds": 60, "max_size": 10},
        }
    )
    assert (found.path, found.openapi, found.unmatched) == ("./auth.py:auth", {"security": []}, "owner")
    assert found.configured


def test_keys_are_kept_as_hashes_alone_and_with_what_is_known_of_their_users() -> None:
    digest = hashlib.sha256(b"another key").hexdigest()
    found = rules(keys={"ann": KEY, "bob": {"sha256": digest, "permissions": ["read"], "team": "blue"}})
    ann, bob = found.keys
    assert ann.digest == hashlib.sha256(KEY.encode()).digest()
    assert (bob.digest.hex(), bob.permissions, bob.user["team"]) == (digest, ("read",), "blue")
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("{", "must be JSON"),
        ([], "must be an object"),
        ({"ann": "short"}, "at least 16"),
        ({"ann": {"key": KEY, "sha256": "0" * 64}}, "either"),
        ({"ann": {"sha256": "zz"}}, "64 hexadecimal"),
        ({"": KEY}, "no identity"),
        ({"ann": KEY, "bob": KEY}, "one key to two users"),
        ({"ann": {"key": KEY, "permissions": "all"}}, "not a list"),
        ({"ann": {"key": KEY, "is_authenticated": False}}, "is_authenticated"),
    ],
)
def test_keys_that_would_protect_less_than_they_seem_to_are_refused_without_being_told(
    keys: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        rules(keys=keys)
    assert KEY not in refused.value.message


JWT = {"issuer": "https://login.example.com/", "audience": "us", "jwks_url": "https://login.example.com/jwks"}


def test_tokens_have_an_issuer_an_audience_and_keys() -> None:
    found = rules({"jwt": {**JWT, "algorithms": ["ES256"], "leeway_seconds": 5}}).jwt
    assert found is not None
    assert (found.issuer, found.audience, found.jwks) == (JWT["issuer"], ("us",), JWT["jwks_url"])
    assert (found.algorithms, found.leeway_seconds) == (("ES256",), 5)


def test_keys_may_come_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("{}")
    jwt = {key: value for key, value in JWT.items() if key != "jwks_url"}
    found = rules({"jwt": {**jwt, "jwks_file": "keys.json"}}, folder=tmp_path).jwt
    assert found is not None
    assert (found.jwks, found.local) == (str(tmp_path / "keys.json"), True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"issuer": None}, "auth.jwt.issuer"),
        ({"audience": []}, "auth.jwt.audience"),
        ({"jwks_url": None}, "either"),
        ({"jwks_url": "http://login.example.com/jwks"}, "https"),
        ({"jwks_url": "file:///etc/passwd"}, "https"),
        ({"jwks_file": "x"}, "either"),
        ({"jwks_url": None, "jwks_file": "missing.json"}, "must name a file"),
        ({"algorithms": ["HS256"]}, "auth.jwt.algorithms"),
        ({"algorithms": ["none"]}, "auth.jwt.algorithms"),
        ({"algorithms": []}, "auth.jwt.algorithms"),
        ({"leeway_seconds": 3600}, "from 0 to 300"),
        ({"secret": "x"}, "is unknown"),
    ],
)
def test_rules_for_tokens_that_would_let_others_in_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rules({"jwt": {**JWT, **change}})
