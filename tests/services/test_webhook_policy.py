"""Where webhooks may go. Names are looked up in a table of the test's; odd spellings by the real system."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest

from server.errors import Invalid
from server.models import WebhookRules
from server.services.addresses import SystemResolver
from server.services.webhook_policy import WebhookPolicy

PUBLIC = "93.184.216.34"
LOOPBACK = "Webhook host blocked: loopback IP range"
LOCALHOST = "Webhook host blocked: localhost address"


class Names:
    """A resolver with a table. Each lookup of a name takes the next of its answers, the last one stays."""

    def __init__(self, **table: Sequence[str] | list[Sequence[str]]) -> None:
        self.table: dict[str, list[Any]] = {
            name.replace("_", "."): list(answers)
            if answers and not isinstance(answers[0], str)
            else [answers]
            for name, answers in table.items()
        }
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.table.get(host, [[PUBLIC]])
        found: Sequence[str] = answers.pop(0) if len(answers) > 1 else answers[0]
        return found


async def refusal(url: str, rules: WebhookRules | None = None, resolve: Any = None) -> str | None:
    """Why a URL is refused, when a run is created and when it is called: the same; None: it is not."""
    policy = WebhookPolicy(rules or WebhookRules(), resolve or Names())
    said: list[str | None] = []
    for ask in (policy.check, policy.addresses):
        try:
            await ask(url)
        except Invalid as refused:
            said.append(refused.message)
        else:
            said.append(None)
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.com",
        "https://example.com:8443/a?b=c#d",
        "HTTPS://EXAMPLE.COM/",
        "https://example.com./",
        "https://bücher.example/ä",
        "https://my_host.example/",
        f"http://{PUBLIC}/",
        "http://[2606:4700:4700::1111]/",
    ],
)
async def test_a_public_place_is_allowed(url: str) -> None:
    assert await refusal(url) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/", LOOPBACK),
        ("http://127.0.0.1:8123/", LOOPBACK),
        ("http://127.1/", LOOPBACK),
        ("http://127.0.1/", LOOPBACK),
        ("http://2130706433/", LOOPBACK),
        ("http://0x7f000001/", LOOPBACK),
        ("http://0x7f.0.0.1/", LOOPBACK),
        ("http://0177.1/", LOOPBACK),
        ("http://017700000001/", LOOPBACK),
        ("http://127。0。0。1/", LOOPBACK),  # ideographic full stops
        ("http://[::1]/", LOOPBACK),
        ("http://[0:0:0:0:0:0:0:1]/", LOOPBACK),
        ("http://localhost/", LOCALHOST),
        ("http://LocalHost./", LOCALHOST),
        ("http://some.localhost/", LOCALHOST),
        ("http://localhost.localdomain/", LOCALHOST),
        ("http://[::ffff:127.0.0.1]/", "Webhook host blocked: IPv4-mapped IP range"),
        ("http://[::ffff:7f00:1]/", "Webhook host blocked: IPv4-mapped IP range"),
        ("http://[64:ff9b::7f00:1]/", "Webhook host blocked: NAT64 IP range"),
        ("http://[2002:7f00:1::]/", "Webhook host blocked: 6to4 IP range"),
        ("http://0.0.0.0/", "Webhook host blocked: unspecified IP range"),
        ("http://0/", "Webhook host blocked: unspecified IP range"),
        ("http://[::]/", "Webhook host blocked: unspecified IP range"),
        ("http://10.0.0.1/", "Webhook host blocked: private IP range"),
        ("http://172.16.0.1/", "Webhook host blocked: private IP range"),
        ("http://192.168.0.1/", "Webhook host blocked: private IP range"),
        ("http://[fd00::1]/", "Webhook host blocked: private IP range"),
        ("http://100.64.0.1/", "Webhook host blocked: carrier-grade NAT IP range"),
        ("http://169.254.169.254/latest/meta-data/", "Webhook host blocked: link-local IP range"),
        ("http://0xa9fea9fe/", "Webhook host blocked: link-local IP range"),
        ("http://2852039166/", "Webhook host blocked: link-local IP range"),
        ("http://[fe80::1]/", "Webhook host blocked: link-local IP range"),
        ("http://224.0.0.1/", "Webhook host blocked: multicast IP range"),
    ],
)
async def test_no_spelling_of_a_place_of_our_own_is_allowed(url: str, said: str) -> None:
    assert await refusal(url, resolve=SystemResolver()) == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "Webhook URL scheme 'ftp' not allowed"),
        ("file:///etc/passwd", "Webhook URL scheme 'file' not allowed"),
        ("gopher://example.com/_x", "Webhook URL scheme 'gopher' not allowed"),
        ("javascript:alert(1)", "Webhook URL scheme 'javascript' not allowed"),
        ("unix:///run/docker.sock", "Webhook URL scheme 'unix' not allowed"),
        ("http://", "Invalid webhook hostname ''"),
        ("http:///x", "Invalid webhook hostname ''"),
        ("http:x", "Invalid webhook hostname ''"),
        ("http://:80/", "Invalid webhook hostname ''"),
        ("http://?x", "Invalid webhook hostname ''"),
        ("http://a..b/", "Invalid webhook hostname 'a..b'"),
        ("http://*/", "Invalid webhook hostname '*'"),
        ("http://%31%32%37.0.0.1/", "Invalid webhook hostname '%31%32%37.0.0.1'"),
        ("http://localhost%00.example/", "Invalid webhook hostname 'localhost%00.example'"),
        ("http://user@example.com/", "Webhook URL must not hold a user or password"),
        ("http://example.com:80@127.0.0.1/", "Webhook URL must not hold a user or password"),
        ("http://example.com:0/", "Invalid webhook port 0"),
        ("http://example.com:65536/", "Invalid webhook port 65536"),
        ("/hook", "Webhook URL must be absolute, such as https://example.com/hook"),
        ("hook", "Webhook URL must be absolute, such as https://example.com/hook"),
        ("//example.com/", "Webhook URL must be absolute, such as https://example.com/hook"),
    ],
)
async def test_what_is_not_an_address_of_the_web_is_refused_with_its_reason(url: str, said: str) -> None:
    assert await refusal(url) == said


@pytest.mark.parametrize(
    "url",
    ["http://example.com/\r\nX: y", "http://exa mple.com/", " http://example.com/", "http://example.com/\n",
     "http://example.com\\@127.0.0.1/", "http://example.com/\t", "http://example.com/\x00", "http://[::1",
     "http://example.com:x/", "http://0177.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://[not-an-address]/"],
)  # fmt: skip
async def test_what_programs_read_differently_is_refused(url: str) -> None:
    assert (await refusal(url) or "").startswith("Invalid webhook URL: ")


@pytest.mark.parametrize("url", ["a" * 60_000 + "://x/", "http://" + "a" * 60_000, "http://" + "é" * 60_000])
async def test_a_refusal_does_not_repeat_a_text_without_end(url: str) -> None:
    assert len(await refusal(url) or "") < 200


async def test_a_name_that_cannot_be_resolved_is_refused() -> None:
    assert await refusal("http://x.test/", resolve=Names(x_test=[])) == (
        "Webhook host cannot be resolved: x.test"
    )


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC, "::1"], ["127.0.0.1", PUBLIC]]
)
async def test_one_bad_address_behind_a_name_is_enough(addresses: list[str]) -> None:
    assert "blocked" in (await refusal("http://x.test/", resolve=Names(x_test=addresses)) or "")


async def test_a_name_that_points_elsewhere_by_now_is_refused_before_the_call() -> None:
    policy = WebhookPolicy(WebhookRules(), Names(x_test=[[PUBLIC], ["127.0.0.1"]]))
    await policy.check("http://x.test/")
    with pytest.raises(Invalid, match="loopback"):
        await policy.addresses("http://x.test/")


async def test_what_was_approved_is_not_looked_up_for_every_run_but_for_every_call() -> None:
    names = Names()
    policy = WebhookPolicy(WebhookRules(), names)
    for _ in range(3):
        await policy.check("http://x.test/a")
    assert names.asked == ["x.test"]
    await policy.addresses("http://x.test/a")
    assert names.asked == ["x.test", "x.test"]


async def test_a_refusal_is_not_kept() -> None:
    policy = WebhookPolicy(WebhookRules(), Names(x_test=[["127.0.0.1"], [PUBLIC]]))
    with pytest.raises(Invalid):
        await policy.check("http://x.test/")
    await policy.check("http://x.test/")


async def test_https_can_be_demanded() -> None:
    rules = WebhookRules(require_https=True)
    assert await refusal("http://example.com/", rules) == "Webhook must use https"
    assert await refusal("https://example.com/", rules) is None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("example.com", True),
        ("EXAMPLE.com.", True),
        ("www.example.com", False),
        ("example.com.evil.test", False),
        ("evilexample.com", False),
        ("hooks.test", False),
        ("a.hooks.test", True),
        ("a.b.hooks.test", True),
        ("ahooks.test", False),
    ],
)
async def test_domains_can_be_listed_and_a_star_means_those_below(host: str, allowed: bool) -> None:
    rules = WebhookRules(allowed_domains=("example.com", "*.hooks.test"))
    said = await refusal(f"https://{host}/", rules)
    assert (said is None) == allowed
    assert said is None or "not allowed" in said


async def test_a_listed_domain_is_still_not_allowed_to_be_one_of_our_own_addresses() -> None:
    rules = WebhookRules(allowed_domains=("x.test",))
    assert "loopback" in (await refusal("http://x.test/", rules, Names(x_test=["127.0.0.1"])) or "")


async def test_ports_can_be_listed_and_schemes_have_theirs() -> None:
    rules = WebhookRules(allowed_ports=(443,))
    assert await refusal("https://example.com/", rules) is None
    assert await refusal("http://example.com/", rules) == "Webhook port 80 not allowed"
    assert await refusal("https://example.com:8443/", rules) == "Webhook port 8443 not allowed"


async def test_the_length_can_be_limited() -> None:
    rules = WebhookRules(url_length_max=30)
    assert await refusal("https://example.com/" + "a" * 10, rules) is None
    assert (
        await refusal("https://example.com/" + "a" * 11, rules) == "Webhook URL is longer than 30 characters"
    )


@pytest.mark.parametrize(
    "rules",
    [WebhookRules(loopback=True), WebhookRules(networks=(ip_network("127.0.0.0/8"), ip_network("::1")))],
)
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]/", "http://localhost/"])
async def test_loopback_can_be_allowed_and_only_that(rules: WebhookRules, url: str) -> None:
    assert await refusal(url, rules, SystemResolver()) is None
    assert "private" in (await refusal("http://10.0.0.1/", rules, SystemResolver()) or "")


async def test_a_private_network_can_be_allowed_and_only_that() -> None:
    rules = WebhookRules(networks=(ip_network("10.1.0.0/16"),))
    assert await refusal("http://10.1.2.3/", rules, SystemResolver()) is None
    assert "private" in (await refusal("http://10.2.2.3/", rules, SystemResolver()) or "")
    assert await refusal("http://localhost/", rules, SystemResolver()) == LOCALHOST
