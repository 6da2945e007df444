"""`http.cors` of langgraph.json and CORS_… of the environment: what is accepted, what wins."""

import re
from pathlib import Path
from typing import Any

import pytest

from server.config.cors import CorsSettings, cors_rules
from server.config.settings import load_settings
from server.errors import ConfigError
from server.rules.cors import EXPOSED, LOCALHOST, METHODS, CorsRules

FILE = Path("langgraph.json")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in CorsSettings.model_fields:
        monkeypatch.delenv(f"GRAPHWIRE_{field.upper()}", raising=False)
        monkeypatch.delenv(field.upper(), raising=False)


def rules(cors: Any = None) -> CorsRules:
    return cors_rules(FILE, {"cors": cors}, load_settings())


def test_without_the_key_pages_on_localhost_may_call_without_cookies() -> None:
    for http in (None, {}, {"cors": None}, {"cors": {}}, {"app": "./app.py:app"}):
        assert cors_rules(FILE, http, load_settings()) == CorsRules()
    assert CorsRules() == CorsRules((), LOCALHOST, METHODS, ("*",), False, EXPOSED, 600, True)


def test_every_key_is_read() -> None:
    everything = {
        "allow_origins": ["https://a.example"],
        "allow_origin_regex": r"https://.*\.b\.example",
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["x-api-key"],
        "allow_credentials": True,
        "expose_headers": ["X-Own"],
        "max_age": 60,
    }
    assert rules(everything) == CorsRules(
        ("https://a.example",),
        r"https://.*\.b\.example",
        ("GET", "POST"),
        ("x-api-key",),
        True,
        (*EXPOSED, "x-own"),
        60,
    )


def test_what_the_file_does_not_say_keeps_what_clients_need() -> None:
    assert rules({"allow_origins": ["https://a.example"]}) == CorsRules(("https://a.example",), None)


@pytest.mark.parametrize(
    ("origin", "may"),
    [
        ("http://localhost", True),
        ("http://localhost:3000", True),
        ("https://app.localhost:5173", True),
        ("http://127.0.0.1:8123", True),
        ("http://[::1]:80", True),
        ("http://localhost.evil.example", False),
        ("http://evil.example:3000", False),
        ("http://localhost:3000.evil.example", False),
        ("https://evil.example/?localhost", False),
        ("null", False),
    ],
)
def test_localhost_is_what_it_says(origin: str, may: bool) -> None:
    assert bool(re.fullmatch(LOCALHOST, origin)) is may


def test_nobody_may_call_where_the_file_says_so() -> None:
    found = rules({"allow_origins": []})
    assert (found.origins, found.origin_regex, found.credentials) == ((), None, False)


def test_a_regular_expression_alone_takes_the_place_of_the_star(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rules({"allow_origin_regex": "https://.*"}).origins == ()
    monkeypatch.setenv("GRAPHWIRE_CORS_ALLOW_ORIGIN_REGEX", "http://localhost:[0-9]+")
    assert (rules().origins, rules().origin_regex) == ((), "http://localhost:[0-9]+")
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", "https://a.example")
    assert rules().origins == ("https://a.example",)


def test_the_file_wins_over_the_environment_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", "https://a.example")
    monkeypatch.setenv("GRAPHWIRE_CORS_MAX_AGE", "5")
    found = rules({"allow_origins": ["https://b.example"]})
    assert (found.origins, found.max_age_seconds) == (("https://b.example",), 5)


def test_origins_that_the_environment_lists_may_send_cookies(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the reference, where the file has to say so."""
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", "https://a.example,https://b.example")
    assert rules().credentials
    assert not rules({"max_age": 5}).credentials
    monkeypatch.setenv("GRAPHWIRE_CORS_ALLOW_CREDENTIALS", "false")
    assert not rules().credentials


@pytest.mark.parametrize(
    ("cors", "key"),
    [
        ({"allow_origins": ["https://a.example/"]}, "allow_origins"),
        ({"allow_origins": ["a.example"]}, "allow_origins"),
        ({"allow_origins": ["https://*.example"]}, "allow_origins"),
        ({"allow_origins": 1}, "allow_origins"),
        ({"allow_origin_regex": "("}, "allow_origin_regex"),
        ({"allow_methods": ["GET POST"]}, "allow_methods"),
        ({"allow_headers": ["x\r\ny"]}, "allow_headers"),
        ({"allow_credentials": "perhaps"}, "allow_credentials"),
        ({"expose_headers": ["x y"]}, "expose_headers"),
        ({"max_age": -1}, "max_age"),
    ],
)
def test_a_bad_key_is_named(cors: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=f"http.cors.{key}"):
        rules(cors)


@pytest.mark.parametrize("http", [{"cors": "*"}, {"cors": ["*"]}, "cors"])
def test_what_is_no_object_is_refused(http: Any) -> None:
    with pytest.raises(ConfigError, match="must be an object"):
        cors_rules(FILE, http, load_settings())


@pytest.mark.parametrize("variable", ["CORS_ALLOW_ORIGINS", "GRAPHWIRE_CORS_ALLOW_ORIGIN_REGEX"])
def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "https://a.example/(")
    with pytest.raises(ConfigError, match=variable):
        load_settings()
