"""Which network addresses are public, and the lookup of names that tells the addresses behind them."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from ..errors import Invalid
from ..models import Network

LOOKUP_SECONDS = 4.0
LOOKUPS = 16  # at a time; a name server that never answers holds one for as long as the system waits
ADDRESSES_MAX = 64

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # (host, port) -> addresses; raises OSError

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_PUBLIC_IPV6 = ip_network("2000::/3")  # all other IPv6 space is special or not given out

# The registries of special-purpose addresses (RFC 6890). Not `is_global`: it differs between versions of
# Python, and lets through what hides an IPv4 address: NAT64, 6to4.
_SPECIAL: tuple[tuple[Network, str], ...] = (
    *((network, "loopback") for network in LOOPBACK),
    (ip_network("0.0.0.0/8"), "unspecified"),
    (ip_network("10.0.0.0/8"), "private"),
    (ip_network("100.64.0.0/10"), "carrier-grade NAT"),
    (ip_network("169.254.0.0/16"), "link-local"),
    (ip_network("172.16.0.0/12"), "private"),
    (ip_network("192.0.0.0/24"), "reserved"),
    (ip_network("192.0.2.0/24"), "documentation"),
    (ip_network("192.88.99.0/24"), "6to4"),
    (ip_network("192.168.0.0/16"), "private"),
    (ip_network("198.18.0.0/15"), "benchmarking"),
    (ip_network("198.51.100.0/24"), "documentation"),
    (ip_network("203.0.113.0/24"), "documentation"),
    (ip_network("224.0.0.0/4"), "multicast"),
    (ip_network("240.0.0.0/4"), "reserved"),
    (ip_network("::/128"), "unspecified"),
    (ip_network("::ffff:0:0/96"), "IPv4-mapped"),
    (ip_network("64:ff9b::/96"), "NAT64"),
    (ip_network("64:ff9b:1::/48"), "NAT64"),
    (ip_network("2001::/23"), "reserved"),  # Teredo among them
    (ip_network("2001:db8::/32"), "documentation"),
    (ip_network("2002::/16"), "6to4"),
    (ip_network("3fff::/20"), "documentation"),
    (ip_network("fc00::/7"), "private"),
    (ip_network("fe80::/10"), "link-local"),
    (ip_network("fec0::/10"), "private"),
    (ip_network("ff00::/8"), "multicast"),
)


def special(address: str, allowed: Sequence[Network] = ()) -> str | None:
    """What is special about an address, such as "loopback"; None when it is public or in `allowed`."""
    found: IPv4Address | IPv6Address = ip_address(address)
    if any(found in network for network in allowed):
        return None
    for network, kind in _SPECIAL:
        if found in network:
            return kind
    if isinstance(found, IPv6Address) and found not in _PUBLIC_IPV6:
        return "reserved"
    return None


async def lookup(resolve: Resolve, host: str, port: int) -> list[str]:
    """The addresses behind a host, in the order to try them. Raises Invalid."""
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = list(dict.fromkeys(await resolve(host, port)))
    except (OSError, UnicodeError, TimeoutError):
        found = []
    if not found or len(found) > ADDRESSES_MAX:
        raise Invalid(f"Webhook host cannot be resolved: {host}")
    return found


class SystemResolver:
    """Asks the system, as every program does: /etc/hosts, search domains and odd spellings included."""

    def __init__(self) -> None:
        # Threads of our own: uvloop has two for lookups, and two dead name servers would stop all others.
        self._threads = ThreadPoolExecutor(LOOKUPS, "lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        def ask() -> list[str]:
            return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]

        return await asyncio.wrap_future(self._threads.submit(ask))
