"""`webhooks` of langgraph.json and the settings beside it: what is accepted, and what refusals say."""

import base64
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from server.config.project import load_project
from server.config.settings import Settings, load_settings, load_webhooks
from server.config.webhooks import signing_keys
from server.errors import ConfigError
from server.models import WebhookRules

SECRET = "a-secret-of-some-length"


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads a `webhooks` value as a start of the server would."""

    def read(webhooks: Any, **env: str) -> WebhookRules:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"graphs": {"a": "./a.py:g"}, "webhooks": webhooks}))
        return load_webhooks(load_project(file), Settings())

    return read


def test_without_the_key_public_addresses_are_allowed_and_nothing_else(rules: Any) -> None:
    assert rules(None) == WebhookRules()


def test_every_rule_of_urls_is_read(rules: Any) -> None:
    url = {
        "require_https": False,
        "allowed_domains": ["Example.com.", "*.hooks.test"],
        "allowed_ports": [443, 8443],
        "max_url_length": 2_000,
        "disable_loopback": False,
    }
    assert rules({"url": url}) == WebhookRules(
        require_https=False,
        allowed_domains=("example.com", "*.hooks.test"),
        allowed_ports=(443, 8443),
        url_length_max=2_000,
        loopback=True,
    )


def test_who_writes_rules_for_urls_gets_https_unless_they_say_otherwise(rules: Any) -> None:
    assert rules({"url": {}}).require_https
    assert not rules({"headers": {}}).require_https


def test_headers_take_variables_that_were_meant_to_be_sent(rules: Any) -> None:
    headers = {"X-Static": "text", "Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}!"}
    found = rules({"headers": headers}, LG_WEBHOOK_TOKEN="t0ken")
    assert found.headers == {"x-static": "text", "authorization": "Bearer t0ken!"}
    assert "t0ken" not in repr(found)


def test_the_prefix_of_those_variables_can_be_changed(rules: Any) -> None:
    webhooks = {"env_prefix": "HOOK_", "headers": {"X-A": "${{env.HOOK_A}}"}}
    assert rules(webhooks, HOOK_A="1").headers == {"x-a": "1"}


def test_networks_come_from_the_environment(rules: Any) -> None:
    found = rules(None, GRAPHWIRE_WEBHOOK_NETWORKS="127.0.0.0/8, fd00::/8")
    assert found.networks == (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("webhooks", "said"),
    [
        ([], '"webhooks" must be an object'),
        ({"urls": {}}, '"webhooks.urls" is unknown: take one of env_prefix, headers, url'),
        ({"url": []}, '"webhooks.url" must be an object'),
        ({"url": {"allow": 1}}, '"webhooks.url.allow" is unknown: take one of allowed_domains'),
        ({"url": {"require_https": "yes"}}, '"webhooks.url.require_https" must be true or false'),
        ({"url": {"disable_loopback": 1}}, '"webhooks.url.disable_loopback" must be true or false'),
        ({"url": {"allowed_domains": "x.test"}}, '"webhooks.url.allowed_domains" must be a list of strings'),
        ({"url": {"allowed_domains": ["http://x"]}}, 'has "http://x": write a host in ASCII'),
        ({"url": {"allowed_domains": ["*"]}}, 'has "*": write a host in ASCII'),
        ({"url": {"allowed_ports": [0]}}, '"webhooks.url.allowed_ports" must be a list of ports'),
        ({"url": {"allowed_ports": [True]}}, '"webhooks.url.allowed_ports" must be a list of ports'),
        ({"url": {"max_url_length": 0}}, '"webhooks.url.max_url_length" must be a number from 1'),
        ({"env_prefix": ""}, '"webhooks.env_prefix" must be a string'),
        ({"headers": []}, '"webhooks.headers" must be an object of strings'),
        ({"headers": {"X-A": 1}}, '"webhooks.headers.X-A" must be a string'),
        ({"headers": {"X A": "1"}}, '"webhooks.headers.X A" is no name of a header'),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, '"webhooks.headers.X-A" holds characters'),
        ({"headers": {"Host": "x"}}, '"webhooks.headers.Host" is set by the server'),
        ({"headers": {"Webhook-Signature": "x"}}, "is set by the server"),
        ({"headers": {"X-A": "${{ env.LG_WEBHOOK_NONE }}"}}, "names LG_WEBHOOK_NONE, which is not set"),
        ({"headers": {"X-A": "${{ env.PATH }}"}}, "only variables that begin with LG_WEBHOOK_"),
        ({"headers": {"X-A": "${{ secrets.A }}"}}, "has a template that is none"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_key(rules: Any, webhooks: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(webhooks)
    assert said in caught.value.message
    assert "langgraph.json" in caught.value.message


def test_a_variable_that_no_header_can_hold_is_refused_without_being_shown(rules: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        rules({"headers": {"X-A": "${{ env.LG_WEBHOOK_A }}"}}, LG_WEBHOOK_A="hunter2\n")
    assert "hunter2" not in caught.value.message


def test_a_variable_is_not_read_as_a_template(rules: Any) -> None:
    found = rules({"headers": {"X-A": "${{ env.LG_WEBHOOK_A }}"}}, LG_WEBHOOK_A="${{ env.PATH }}")
    assert found.headers == {"x-a": "${{ env.PATH }}"}


def test_a_secret_is_text_or_base64() -> None:
    encoded = "whsec_" + base64.b64encode(b"\x00" * 24).decode()
    assert signing_keys(SECRET) == (SECRET.encode(),)
    assert signing_keys(f"{encoded} {SECRET}") == (b"\x00" * 24, SECRET.encode())


@pytest.mark.parametrize("secret", ["short", "whsec_%%%", "whsec_aGk=", f"{SECRET} short", " "])
def test_a_secret_that_cannot_sign_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("GRAPHWIRE_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message.startswith("In the environment: GRAPHWIRE_WEBHOOK_SECRET: ")
    assert secret == " " or secret not in caught.value.message


def test_printed_settings_show_no_secret() -> None:
    assert SECRET not in repr(Settings(webhook_secret=SECRET))


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "localhost", "10.0.0.0/8;127.0.0.0/8"])
def test_a_wrong_network_is_refused_with_its_variable(monkeypatch: pytest.MonkeyPatch, networks: str) -> None:
    monkeypatch.setenv("GRAPHWIRE_WEBHOOK_NETWORKS", networks)
    with pytest.raises(ConfigError, match="GRAPHWIRE_WEBHOOK_NETWORKS="):
        load_settings()
