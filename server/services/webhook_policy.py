"""Where webhooks may go: the rules of the URL, then every address behind its host (contract/runs.md 19).

Asked twice: when a run is created, so that its caller hears of it, and before each try, because a name can
point elsewhere by then. Only the second keeps attackers out (reliability I1).
"""

import asyncio
import re
import time
from dataclasses import replace

import httpx

from ..errors import Invalid
from ..models import RunRequest, WebhookRules
from .addresses import LOOPBACK, Resolve, lookup, special

APPROVED_SECONDS = 60.0  # a host that passed is not looked up again for each run; before each try it is
APPROVED_MAX = 1_000
SHOWN_MAX = 100  # of a caller's text in an error
_PORTS = {"https": 443, "http": 80}
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_LOCALHOST = re.compile(r"(.+\.)?localhost(\.localdomain)?\.?")
_UNWANTED = re.compile(r"[\x00-\x20\x7f\\]")  # what programs that read URLs disagree about


class WebhookPolicy:
    """The rules of this server, with a way to look names up."""

    def __init__(self, rules: WebhookRules, resolve: Resolve) -> None:
        self._rules = rules
        self._allowed = (*rules.networks, *(LOOPBACK if rules.loopback else ()))
        self._resolve = resolve
        self._approved: dict[tuple[str, int], float] = {}  # host and port -> until when

    async def admitted(self, *requests: RunRequest) -> list[RunRequest]:
        """The requests, checked; without their webhooks if this server sends none. Raises Invalid."""
        if not self._rules.sent:
            return [replace(request, webhook=None) for request in requests]
        await self.check(*(request.webhook for request in requests))
        return list(requests)

    async def check(self, *urls: str | None) -> None:
        """Raises Invalid for a URL that this server will not call, or whose host is unknown at present."""
        if self._rules.sent:
            await asyncio.gather(*(self._check(url) for url in dict.fromkeys(urls) if url is not None))

    async def _check(self, url: str) -> None:
        parsed = self._parse(url)
        place = (parsed.host, _port(parsed))
        if self._approved.get(place, 0.0) > time.monotonic():
            return
        await self._addresses(parsed)
        if len(self._approved) >= APPROVED_MAX:
            self._approved.clear()
        self._approved[place] = time.monotonic() + APPROVED_SECONDS

    async def addresses(self, url: str) -> list[str]:
        """The addresses to connect to, each one checked. Raises Invalid."""
        return await self._addresses(self._parse(url))

    async def _addresses(self, url: httpx.URL) -> list[str]:
        found = await lookup(self._resolve, _ascii_host(url), _port(url))
        for address in found:  # one public address among them is no excuse: the next lookup may pick another
            if kind := special(address, self._allowed):
                raise Invalid(f"Webhook host blocked: {kind} IP range")
        return found

    def _parse(self, url: str) -> httpx.URL:
        """The URL, when the rules allow it whatever is behind its host. Raises Invalid."""
        if len(url) > self._rules.url_length_max:
            raise Invalid(f"Webhook URL is longer than {self._rules.url_length_max} characters")
        if _UNWANTED.search(url):
            raise Invalid("Invalid webhook URL: spaces, control characters and backslashes must be encoded")
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise Invalid(f"Invalid webhook URL: {str(error)[:SHOWN_MAX]}") from None
        self._check_parts(parsed)
        return parsed

    def _check_parts(self, url: httpx.URL) -> None:
        if not url.scheme:
            raise Invalid("Webhook URL must be absolute, such as https://example.com/hook")
        if url.scheme not in _PORTS:
            raise Invalid(f"Webhook URL scheme '{url.scheme[:SHOWN_MAX]}' not allowed")
        if self._rules.require_https and url.scheme != "https":
            raise Invalid("Webhook must use https")
        if url.userinfo:
            raise Invalid("Webhook URL must not hold a user or password")
        host = _ascii_host(url)
        if ":" not in host and not _NAME.fullmatch(host):
            raise Invalid(f"Invalid webhook hostname '{host[:SHOWN_MAX]}'")
        if not 1 <= _port(url) <= 65_535:
            raise Invalid(f"Invalid webhook port {url.port}")
        if _LOCALHOST.fullmatch(host) and not self._loopback_allowed():
            raise Invalid("Webhook host blocked: localhost address")
        if self._rules.allowed_ports and _port(url) not in self._rules.allowed_ports:
            raise Invalid(f"Webhook port {_port(url)} not allowed")
        if self._rules.allowed_domains and not _among(host.rstrip("."), self._rules.allowed_domains):
            raise Invalid(f"Webhook domain '{host}' not allowed")

    def _loopback_allowed(self) -> bool:
        return any(network.overlaps(own) for network in self._allowed for own in LOOPBACK)


def _among(host: str, domains: tuple[str, ...]) -> bool:
    """Whether a host is one of the domains; `*.x` stands for every name below x and not for x."""
    return any(host.endswith(entry[1:]) if entry.startswith("*.") else host == entry for entry in domains)


def _ascii_host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else _PORTS[url.scheme]
