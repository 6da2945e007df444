"""POST to a URL that somebody else chose: only to addresses that were checked, and never waiting for long.

No client stands around it: there are no redirects to follow, no cookies to keep, no proxies of the
environment. Each request has a connection of its own, because one that was made for another name must not
be used again (reliability I1).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import httpx

ADDRESSES_TRIED = 3  # of one host


class Policy(Protocol):
    """Says where a URL leads."""

    async def addresses(self, url: str) -> list[str]:
        """The addresses to connect to. Raises Invalid for a URL that must not be called."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long one request may take, and how much of its answer is read (reliability I1)."""

    connect_seconds: float = 5.0
    total_seconds: float = 10.0
    answer_bytes: int = 64 * 1024


class Egress:
    """Posts; many at a time. `tls` tells whom to trust, by default the usual authorities."""

    def __init__(
        self, policy: Policy, deadlines: Deadlines | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._policy = policy
        self._deadlines = deadlines or Deadlines()
        self._tls = tls
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """The status of the answer. Raises Invalid, httpx.HTTPError, TimeoutError."""
        async with asyncio.timeout(self._deadlines.total_seconds) as deadline:
            addresses = await self._policy.addresses(url)
            response = await self._to_one_of(addresses[:ADDRESSES_TRIED], url, headers, body)
        try:
            # What the receiver says besides does not matter, but it may want to finish its sentence.
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout_at(deadline.when()):
                    await self._read_some(response)
            return response.status_code
        finally:
            await response.aclose()

    async def _to_one_of(
        self, addresses: list[str], url: str, headers: Mapping[str, str], body: bytes
    ) -> httpx.Response:
        """The answer of the first address that can be reached: until then nothing was sent."""
        transport = await self._ready()
        for address in addresses[:-1]:
            with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await transport.handle_async_request(
                    self._request(url, address, headers, body, len(addresses))
                )
        return await transport.handle_async_request(
            self._request(url, addresses[-1], headers, body, len(addresses))
        )

    def _request(
        self, url: str, address: str, headers: Mapping[str, str], body: bytes, shares: int
    ) -> httpx.Request:
        """A request to the address that otherwise names the host: in `Host`, and for the certificate."""
        named = httpx.Request("POST", url, headers=headers, content=body)
        name = named.url.raw_host.decode("ascii").rstrip(".")
        timeout = httpx.Timeout(
            self._deadlines.total_seconds, connect=self._deadlines.connect_seconds / shares
        )
        return httpx.Request(
            "POST",
            named.url.copy_with(host=address),
            headers=named.headers,
            stream=named.stream,
            extensions={"timeout": timeout.as_dict(), "sni_hostname": name},
        )

    async def _ready(self) -> httpx.AsyncHTTPTransport:
        if self._transport is None:
            # Reading the authorities' certificates takes 20 ms, so elsewhere, and not at every start.
            tls = self._tls
            if tls is None:
                tls = await asyncio.to_thread(httpx.create_ssl_context)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._transport = httpx.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False)
        return self._transport

    async def _read_some(self, response: httpx.Response) -> None:
        left = self._deadlines.answer_bytes
        async for part in response.aiter_raw():
            left -= len(part)
            if left <= 0:
                return
