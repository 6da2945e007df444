"""`http` of langgraph.json: what is accepted, what wins, how a problem is named."""

from pathlib import Path
from typing import Any

import pytest

from server.config.http import http_rules
from server.config.settings import Settings
from server.errors import ConfigError
from server.rules.http import SECRET_IN_LOGS, HeaderChoice, HttpRules

FILE = Path("langgraph.json")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOUNT_PREFIX", "GRAPHWIRE_MOUNT_PREFIX", "CORS_ALLOW_ORIGINS"):
        monkeypatch.delenv(name, raising=False)


def rules(http: Any = None) -> HttpRules:
    return http_rules(FILE, http, Settings())


def test_without_the_key_all_is_on_and_nothing_is_added() -> None:
    for http in (None, {}, {"unknown": 1}, {"app": None, "disable_runs": False}):
        found = rules(http)
        assert (found.app, found.prefix, found.disabled) == (None, "", frozenset())
        assert not found.configurable_headers.take([(b"x-a", b"1")])


def test_every_key_is_read() -> None:
    found = rules(
        {
            "app": "./a.py:app",
            "mount_prefix": "/api/v1/",
            "middleware_order": "auth_first",
            "enable_custom_route_auth": True,
            "disable_store": True,
            "disable_webhooks": True,
            "configurable_headers": {"includes": ["X-*"], "excludes": ["x-b"]},
            "logging_headers": {"include": ["x-c"], "exclude": []},
        }
    )
    assert (found.app, found.prefix) == ("./a.py:app", "/api/v1")
    assert (found.auth_first, found.custom_routes_authenticated) == (True, True)
    assert found.disabled == {"store", "webhooks"}
    assert found.configurable_headers == HeaderChoice(("X-*",), ("x-b",))
    assert found.logged_headers == HeaderChoice(("x-c",), ())


def test_the_prefix_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOUNT_PREFIX", "/env")
    assert rules({"mount_prefix": "/file"}).prefix == "/env"


@pytest.mark.parametrize(
    ("http", "key"),
    [
        ({"app": "app.py"}, "app"),
        ({"app": 1}, "app"),
        ({"mount_prefix": "api"}, "mount_prefix"),
        ({"mount_prefix": "/a b"}, "mount_prefix"),
        ({"mount_prefix": "//host"}, "mount_prefix"),
        ({"middleware_order": "last"}, "middleware_order"),
        ({"enable_custom_route_auth": "yes"}, "enable_custom_route_auth"),
        ({"disable_runs": 1}, "disable_runs"),
        ({"configurable_headers": ["x"]}, "configurable_headers"),
        ({"configurable_headers": {"includes": "x"}}, "configurable_headers.includes"),
        ({"logging_headers": {"excludes": ["a b"]}}, "logging_headers.excludes"),
        ({"cors": {"max_age": -1}}, "cors.max_age"),
    ],
)
def test_a_bad_key_is_named(http: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=rf'langgraph.json: "http\.{key}"'):
        rules(http)


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ConfigError, match='"http" must be an object'):
        rules(["app"])


def test_the_studio_that_a_start_points_to_may_call() -> None:
    found = http_rules(FILE, None, Settings(), studio="https://studio.example/a/b").cors
    assert (found.origins, found.credentials) == (("https://studio.example",), False)
    assert found.origin_regex is not None  # pages on localhost as well
    everybody = {"cors": {"allow_origins": ["*"]}}
    assert http_rules(FILE, everybody, Settings(), studio="https://studio.example").cors.origins == ("*",)


@pytest.mark.parametrize(
    ("choice", "taken"),
    [
        (HeaderChoice(), set()),
        (HeaderChoice(("*",)), {"x-user", "x-team", "authorization"}),
        (HeaderChoice(("X-USER", "authorization"), ("AUTH*",)), {"x-user"}),
        (HeaderChoice(("x-*",), ("x-t*",)), {"x-user"}),
        (HeaderChoice(("x-api-key",)), set()),
    ],
)
def test_headers_are_chosen_by_name_and_glob(choice: HeaderChoice, taken: set[str]) -> None:
    sent = [(b"X-User", b"1"), (b"x-team", b"2"), (b"authorization", b"3"), (b"X-Api-Key", b"4")]
    assert set(choice.take(sent)) == taken
    assert set(choice.take(sent, never=SECRET_IN_LOGS)) == taken - {"authorization"}
