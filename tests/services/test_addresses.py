"""Which addresses are public, and what a lookup may cost."""

import asyncio
from ipaddress import ip_network

import pytest

from server.errors import Invalid
from server.services import addresses
from server.services.addresses import SystemResolver, lookup, special

REFUSED = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.1.1": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.127.255.255": "carrier-grade NAT",
    "169.254.169.254": "link-local",  # the metadata service of most clouds
    "fd00:ec2::254": "private",  # the same of Amazon's IPv6
    "100.100.100.200": "carrier-grade NAT",  # the same of Alibaba
    "192.0.0.192": "reserved",  # the same of Oracle
    "192.0.2.1": "documentation",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "198.18.0.1": "benchmarking",
    "192.88.99.1": "6to4",
    "224.0.0.1": "multicast",
    "255.255.255.255": "reserved",
    "fe80::1": "link-local",
    "fe80::1%2": "link-local",
    "fec0::1": "private",
    "fc00::1": "private",
    "ff02::1": "multicast",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::127.0.0.1": "reserved",  # IPv4-compatible, long obsolete
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b:1::a00:1": "NAT64",
    "2002:7f00:1::": "6to4",
    "2001::1": "reserved",  # Teredo
    "2001:db8::1": "documentation",
    "3fff::1": "documentation",
    "5f00::1": "reserved",
    "100::1": "reserved",
}


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_known_for_what_it_is(address: str) -> None:
    assert special(address) == REFUSED[address]


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
     "192.167.255.255", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888"],
)  # fmt: skip
def test_a_public_address_is_nothing_special(address: str) -> None:
    assert special(address) is None


def test_what_is_allowed_is_allowed_and_its_neighbours_are_not() -> None:
    allowed = [ip_network("10.1.0.0/16"), ip_network("::1/128")]
    assert special("10.1.2.3", allowed) is None
    assert special("::1", allowed) is None
    assert special("10.2.0.0", allowed) == "private"
    assert special("::ffff:10.1.2.3", allowed) == "IPv4-mapped"


async def test_a_lookup_gives_each_address_once_in_its_order() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["2606:4700::1", "1.1.1.1", "2606:4700::1"]

    assert await lookup(resolve, "h", 1) == ["2606:4700::1", "1.1.1.1"]


async def test_a_name_without_an_address_cannot_be_resolved() -> None:
    async def nothing(host: str, port: int) -> list[str]:
        return []

    async def fails(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    for resolve in (nothing, fails):
        with pytest.raises(Invalid, match=r"cannot be resolved: nowhere\.example"):
            await lookup(resolve, "nowhere.example", 80)


async def test_a_name_with_a_flood_of_addresses_is_refused() -> None:
    async def flood(host: str, port: int) -> list[str]:
        return [f"1.1.{n // 256}.{n % 256}" for n in range(1_000)]

    with pytest.raises(Invalid):
        await lookup(flood, "h", 80)


async def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "LOOKUP_SECONDS", 0.01)

    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(Invalid, match="cannot be resolved"):
        await lookup(never, "h", 80)


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1"])
async def test_the_system_reads_odd_spellings_as_it_would_connect_to_them(spelling: str) -> None:
    assert await SystemResolver()(spelling, 80) == ["127.0.0.1"]


async def test_the_system_knows_localhost() -> None:
    assert set(await SystemResolver()("localhost", 80)) & {"127.0.0.1", "::1"}
