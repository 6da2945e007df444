"""POST to a URL that somebody else chose: where it connects, what it follows, how long it waits."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from fix_receiver import Receivers

from server.errors import Invalid
from server.execution.egress import Deadlines, Egress
from server.models import WebhookRules
from server.services.webhook_policy import WebhookPolicy

CERTIFICATE = Path(__file__).with_name("hooks_test.pem")
HERE = WebhookRules(networks=(ip_network("127.0.0.0/8"),))
BODY = b'{"a":1}'


def to(*answers: Sequence[str], rules: WebhookRules = HERE) -> WebhookPolicy:
    """A policy whose every lookup takes the next of the answers; the last one stays."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return WebhookPolicy(rules, resolve)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_it_posts_and_tells_the_status(receiver: Receivers) -> None:
    there = receiver(202)
    url = f"http://hooks.test:{there.port}/a?b=c%20d"
    assert await Egress(to(["127.0.0.1"])).post(url, {"x-a": "1"}, BODY) == 202
    hook = there.next()
    assert (hook.method, hook.target, hook.body) == ("POST", "/a?b=c%20d", BODY)
    assert hook.headers["x-a"] == "1"


async def test_the_receiver_sees_the_name_though_the_address_was_called(receiver: Receivers) -> None:
    there = receiver()
    await Egress(to(["127.0.0.1"])).post(f"http://hooks.test:{there.port}/", {}, BODY)
    assert there.next().headers["host"] == f"hooks.test:{there.port}"


async def test_nothing_is_connected_to_when_the_address_is_refused(receiver: Receivers) -> None:
    there = receiver()
    egress = Egress(to(["127.0.0.1"], rules=WebhookRules()))
    with pytest.raises(Invalid, match="loopback"):
        await egress.post(f"http://hooks.test:{there.port}/", {}, BODY)
    assert there.connections == 0


async def test_a_name_that_changes_between_check_and_call_leads_to_the_checked_address(
    receiver: Receivers,
) -> None:
    """DNS rebinding: the second answer would be an address of ours. There is no second lookup to give it."""
    victim = receiver(host="127.0.0.9")
    only = WebhookRules(networks=(ip_network("127.0.0.1/32"),))
    policy = to(["127.0.0.1"], ["127.0.0.1"], ["127.0.0.9"], rules=only)
    url = f"http://hooks.test:{victim.port}/"
    await policy.check(url)
    with pytest.raises(httpx.ConnectError):  # nobody listens on 127.0.0.1 at this port
        await Egress(policy).post(url, {}, BODY)
    with pytest.raises(Invalid, match="loopback"):
        await Egress(policy).post(url, {}, BODY)
    assert victim.connections == 0


async def test_another_address_of_the_name_is_tried_when_one_cannot_be_reached(receiver: Receivers) -> None:
    there = receiver(host="127.0.0.2")
    egress = Egress(to(["127.0.0.1", "127.0.0.2"]))
    assert await egress.post(f"http://hooks.test:{there.port}/", {}, BODY) == 200


async def test_an_answer_is_an_answer_and_no_reason_to_ask_the_next_address(receiver: Receivers) -> None:
    one = receiver(500, host="127.0.0.1")
    egress = Egress(to(["127.0.0.1", "127.0.0.1"]))
    assert await egress.post(f"http://hooks.test:{one.port}/", {}, BODY) == 500
    assert one.connections == 1


async def test_a_redirect_is_not_followed(receiver: Receivers) -> None:
    there = receiver(302)
    assert await Egress(to(["127.0.0.1"])).post(there.url, {}, BODY) == 302
    there.next()
    assert there.connections == 1


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, proxy = receiver(), receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert await Egress(to(["127.0.0.1"])).post(there.url, {}, BODY) == 200
    assert proxy.connections == 0


async def test_every_request_has_a_connection_of_its_own(receiver: Receivers) -> None:
    there, egress = receiver(), Egress(to(["127.0.0.1"]))
    for _ in range(3):
        await egress.post(there.url, {}, BODY)
    assert there.connections == 3


async def test_cookies_are_not_kept(receiver: Receivers) -> None:
    there, egress = receiver("hold"), Egress(to(["127.0.0.1"]))
    posting = asyncio.create_task(egress.post(there.url, {}, BODY))
    hook = await asyncio.to_thread(there.next)
    hook.answer(200, "Set-Cookie: a=1")
    await posting
    await egress.post(there.url, {}, BODY)
    assert "cookie" not in there.next().headers


async def test_a_receiver_that_says_nothing_is_left(receiver: Receivers) -> None:
    there = receiver("hold")
    with pytest.raises(TimeoutError):
        await Egress(to(["127.0.0.1"]), Deadlines(total_seconds=0.05)).post(there.url, {}, BODY)


async def test_a_receiver_that_never_ends_its_answer_has_answered(receiver: Receivers) -> None:
    there = receiver("hold")
    posting = asyncio.create_task(
        Egress(to(["127.0.0.1"]), Deadlines(total_seconds=0.5)).post(there.url, {}, BODY)
    )
    hook = await asyncio.to_thread(there.next)
    hook.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    assert await posting == 200


async def test_of_a_huge_answer_a_little_is_read(receiver: Receivers) -> None:
    """The receiver sends until the connection is closed on it, and counts."""
    there = receiver("hold")
    posting = asyncio.create_task(Egress(to(["127.0.0.1"])).post(there.url, {}, BODY))
    hook = await asyncio.to_thread(there.next)
    sent = 0

    def flood() -> None:
        nonlocal sent
        hook.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        hook.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                sent += hook.sock.send(b"x" * 65536)
        except OSError:
            return

    flooding = threading.Thread(target=flood)
    flooding.start()
    assert await posting == 200
    await asyncio.to_thread(flooding.join)
    assert sent < 16 * 2**20  # what was read, and what the system's buffers had taken


@pytest.mark.parametrize("junk", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000, b""])
async def test_what_is_not_http_is_an_error_and_nothing_worse(receiver: Receivers, junk: bytes) -> None:
    there = receiver("hold")
    posting = asyncio.create_task(Egress(to(["127.0.0.1"])).post(there.url, {}, BODY))
    hook = await asyncio.to_thread(there.next)
    hook.sock.sendall(junk)
    hook.sock.close()
    with pytest.raises(httpx.HTTPError):
        await posting


async def test_nobody_there_is_an_error() -> None:
    with pytest.raises(httpx.ConnectError):
        await Egress(to(["127.0.0.1"])).post(f"http://hooks.test:{closed_port()}/", {}, BODY)


# ------------------------------------------------------------------------------------------- https


def receiving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


async def test_the_certificate_must_be_of_the_name_and_the_name_is_asked_for(receiver: Receivers) -> None:
    there = receiver(tls=receiving())
    egress = Egress(to(["127.0.0.1"]), tls=trusting())
    assert await egress.post(f"https://hooks.test:{there.port}/", {}, BODY) == 200
    assert there.server_names == ["hooks.test"]
    assert there.next().headers["host"] == f"hooks.test:{there.port}"


async def test_a_certificate_of_another_name_is_refused(receiver: Receivers) -> None:
    there = receiver(tls=receiving())
    egress = Egress(to(["127.0.0.1"]), tls=trusting())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await egress.post(f"https://other.test:{there.port}/", {}, BODY)
    assert there.empty


async def test_a_certificate_of_nobody_is_refused(receiver: Receivers) -> None:
    there = receiver(tls=receiving())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        await Egress(to(["127.0.0.1"])).post(f"https://hooks.test:{there.port}/", {}, BODY)
    assert there.empty
