"""What is no honest HTTP: requests of two meanings, bombs, clients without haste (reliability A5-A9, I10)."""

import select
import socket
import statistics
import time
from collections.abc import Callable
from typing import Any

import fix_raw
import pytest
import wire
from fix_raw import JSON, tell, until_closed
from fix_server import RunningServer, Server

MIB = 2**20
HOST = b"Host: localhost\r\n"
GET = b"GET /ok HTTP/1.1\r\n"
POST = b"POST /threads HTTP/1.1\r\n" + HOST + JSON
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"\r\n2\r\n{}\r\n0\r\n\r\n"
HIDDEN = b"GET /info HTTP/1.1\r\n" + HOST + b"\r\n"  # what a proxy may have let pass as a body


@pytest.fixture(scope="module")
def hasty(start_server: RunningServer) -> Server:
    """A server that waits for a second, as others wait for fifteen."""
    return start_server(GRAPHWIRE_RECEIVE_TIMEOUT_SECONDS="1")


# ------------------------------------------------------------------------------- two meanings

AMBIGUOUS = {
    "no Host": GET + b"\r\n",
    "two Hosts": GET + HOST + b"Host: evil.example\r\n\r\n",
    "the same Host twice": GET + HOST + HOST + b"\r\n",
    "Host with a space": GET + b"Host : localhost\r\n\r\n",
    "another host in the target": b"GET http://evil.example/ok HTTP/1.1\r\n" + HOST + b"\r\n",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a hexadecimal length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "identity, chunked": POST + b"Transfer-Encoding: identity, chunked\r\n" + CHUNKS,
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n" + CHUNKS,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + CHUNKS,
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n" + CHUNKS,
    "a tab before chunked": POST + b"Transfer-Encoding: \x0bchunked\r\n" + CHUNKS,
    "chunks in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n" + CHUNKS,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n" + CHUNKS,
    "a folded line": GET + HOST + b"X-A: a\r\n b\r\n\r\n",
    "a folded first line": GET + b" X-A: a\r\n" + HOST + b"\r\n",
    "bare line feeds": b"GET /ok HTTP/1.1\nHost: localhost\n\n",
    "a bare carriage return": GET + b"Host: localhost\rX: y\r\n\r\n",
    "NUL": GET + HOST + b"X: a\0b\r\n\r\n",
    "chunks that end in line feeds": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    "a hexadecimal chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk that overflows": POST
    + b"Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /ok\r\n",
    "HTTP/0.9 with a blank line": b"GET /ok\r\n\r\n",
    "HTTP/0.9 by name": b"GET /ok HTTP/0.9\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /ok HTTP/2.0\r\n" + HOST + b"\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a socket with two codings": b"GET /threads/x/stream/events HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: identity, chunked\r\n\r\n",
}


@pytest.mark.parametrize("form", AMBIGUOUS)
def test_a_request_of_two_meanings_is_refused_and_nothing_after_it_is_read(server: Server, form: str) -> None:
    heard = tell(server, AMBIGUOUS[form] + HIDDEN)
    assert heard.statuses == [400]
    assert b"connection: close" in heard.data.lower()
    assert heard.seconds < 2


def test_an_honest_target_with_a_host_is_served(server: Server) -> None:
    with fix_raw.connect(server) as sock:
        sock.sendall(b"GET http://localhost/ok HTTP/1.1\r\n" + HOST + b"\r\n")
        assert wire.Response(sock, "GET").json()["ok"] is True


def test_what_comes_after_a_body_is_no_header(server: Server) -> None:
    """A trailer could name another Host, or an id that a handler has looked for already."""
    with fix_raw.connect(server) as sock:
        trailer = b"0\r\nX-Request-Id: forged\r\nHost: evil.example\r\n\r\n"
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n" + trailer)
        answer = wire.Response(sock, "POST")
        assert (answer.status, answer.header("x-request-id") != "forged") == (200, True)


# ------------------------------------------------------------------------------- bombs

ENDLESS = 64 * MIB
HEADS = {
    "one header of 64 kB": GET + HOST + b"X: " + b"a" * 65_536 + b"\r\n\r\n",
    "one header of 1 MB": GET + HOST + b"X: " + b"a" * MIB + b"\r\n\r\n",
    "a target of 1 MB": b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "10,000 lines": GET + HOST + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
    "101 lines": GET + b"".join(b"X-%d: a\r\n" % number for number in range(100)) + HOST + b"\r\n",
    "a header without end": GET + HOST + b"X: " + b"a" * ENDLESS,
    "a target without end": b"GET /" + b"a" * ENDLESS,
    "headers without end": GET + HOST + b"X: a\r\n" * (ENDLESS // 6),
}


@pytest.mark.alone
@pytest.mark.parametrize("bomb", HEADS)
def test_a_head_that_is_too_large_is_refused_early_and_cheaply(server: Server, bomb: str) -> None:
    memory, worked = server.resident_bytes(), fix_raw.cpu_seconds(server)
    with fix_raw.connect(server) as sock:
        sent = fix_raw.send(sock, HEADS[bomb])
        heard = until_closed(sock)
    assert heard.statuses in ([431], [])
    assert sent < 16 * MIB  # most of it stays in the buffers of the system
    assert fix_raw.cpu_seconds(server) - worked <= 0.1
    assert server.resident_bytes() - memory < 16 * MIB


def test_a_refusal_of_a_head_says_why(server: Server) -> None:
    heard = tell(server, HEADS["101 lines"])
    assert heard.statuses == [431]
    assert b"more than 100 headers or 32768 bytes" in heard.data


def test_a_head_within_the_limits_is_served(server: Server) -> None:
    headers = {f"X-{number}": "a" * 300 for number in range(95)}
    assert wire.request(server.port, "GET", "/ok", headers=headers).status == 200


def numbers(count: int) -> bytes:
    return b"[" + b"1," * count + b"1]"


BODIES: dict[str, Callable[[], bytes]] = {
    "deep lists": lambda: b"[" * 500_000 + b"]" * 500_000,
    "deep lists without end": lambda: b"[" * (16 * MIB),
    "deep objects": lambda: b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000,
    "a little too deep": lambda: b'{"metadata":' + b"[" * 300 + b"]" * 300 + b"}",
    "many lists": lambda: b"[" + b"[]," * (10 * MIB // 3) + b"[]]",
    "many objects": lambda: b"[" + b"{}," * (10 * MIB // 3) + b"{}]",
    "many numbers": lambda: numbers(5_000_000),
    "many keys": lambda: b"{" + b",".join(b'"%x":1' % number for number in range(800_000)) + b"}",
    "a number of a million digits": lambda: b"[" + b"1" * 1_000_000 + b"]",
    "numbers of many digits": lambda: b"[" + b",".join([b"9" * 400] * 20_000) + b"]",
    "more than is allowed": lambda: b'{"metadata":{"a":"' + b"a" * (33 * MIB) + b'"}}',
}


@pytest.mark.alone
@pytest.mark.parametrize("bomb", BODIES)
def test_a_body_that_is_a_bomb_is_refused_cheaply(server: Server, bomb: str) -> None:
    body = BODIES[bomb]()
    worked = fix_raw.cpu_seconds(server)
    answer = server.request("POST", "/threads", raw=body)
    answer.body()
    assert answer.status in (413, 422)
    assert fix_raw.cpu_seconds(server) - worked <= 0.1


def test_texts_full_of_brackets_are_no_bomb(server: Server) -> None:
    text = '{"code": [1, "\\\\"]}' * 100_000
    found = server.wait("echo", {"x": text}, thread=None)
    assert found["x"] == text


@pytest.mark.parametrize("length", [10**12, 33 * MIB])
def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(server: Server, length: int) -> None:
    with fix_raw.connect(server) as sock:
        sock.sendall(POST + b"Content-Length: %d\r\n\r\n{" % length)
        assert wire.Response(sock, "POST").status == 413
        assert until_closed(sock).seconds < 10  # and nobody waits for the rest


def test_chunks_without_end_are_refused_at_the_limit_and_then_no_longer_read(server: Server) -> None:
    chunk = b"100000\r\n" + b"a" * MIB + b"\r\n"
    with fix_raw.connect(server) as sock:
        sock.sendall(CHUNKED)
        sent = fix_raw.send(sock, chunk * 128)
        heard = until_closed(sock)
    assert heard.statuses == [413]
    assert sent < 100 * MIB


def test_chunks_that_carry_next_to_nothing_are_refused(server: Server) -> None:
    with fix_raw.connect(server) as sock:
        sock.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n1;")
        sent = fix_raw.send(sock, b"a" * (64 * MIB))
        heard = until_closed(sock)
    assert heard.statuses == [400]
    assert sent < 16 * MIB


def test_a_body_of_single_bytes_is_accepted(server: Server) -> None:
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"metadata": {"a": "%s"}}' % (b"b" * 20_000))
    with fix_raw.connect(server) as sock:
        sock.sendall(CHUNKED + body + b"0\r\n\r\n")
        assert wire.Response(sock, "POST").status == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(server: Server, coding: str) -> None:
    answer = server.request("POST", "/threads", {}, headers={"Content-Encoding": coding})
    assert (answer.status, "compressed" in answer.json()["detail"]) == (415, True)


# ------------------------------------------------------------------------------- without haste

SLOW = {
    "says nothing": b"",
    "blank lines": b"\r\n",
    "half a first line": b"GET /o",
    "half a head": GET + HOST,
    "half a body": POST + b"Content-Length: 100\r\n\r\n{",
    "half a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
}


@pytest.mark.parametrize("client", SLOW)
def test_a_client_that_stops_in_the_middle_is_left(hasty: Server, client: str) -> None:
    heard = tell(hasty, SLOW[client])
    assert heard.seconds < 5
    assert heard.statuses in ([408], [])


@pytest.mark.parametrize("begun", ["half a head", "half a body"])
def test_a_client_that_sends_drop_by_drop_is_left(hasty: Server, begun: str) -> None:
    with fix_raw.connect(hasty) as sock:
        sock.sendall(SLOW[begun])
        sock.settimeout(0.1)
        began = time.monotonic()
        drop = b"X: a\r\n" if begun == "half a head" else b"a"
        while time.monotonic() < began + 10:
            try:
                sock.send(drop)
                if sock.recv(65536):
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    assert time.monotonic() - began < 5


def test_a_client_that_stops_after_an_answer_may_stay_for_the_next(hasty: Server) -> None:
    """As proxies keep connections; what it begins then has to come in time again."""
    with fix_raw.connect(hasty) as sock:
        sock.sendall(GET + HOST + b"\r\n")
        assert b"".join(wire.Response(sock, "GET").chunks())
        assert not select.select([sock], [], [], 2)[0]
        sock.sendall(GET)
        assert until_closed(sock).statuses == [408]


def test_a_large_body_that_makes_progress_may_take_its_time(hasty: Server) -> None:
    body = b'{"metadata": {"a": "' + b"a" * 20_000 + b'"}}'
    with fix_raw.connect(hasty) as sock:
        sock.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        began = time.monotonic()
        for at in range(0, len(body), 1_000):
            sock.sendall(body[at : at + 1_000])
            last = at + 1_000 >= len(body)
            assert last or not select.select([sock], [], [], 0.15)[0]
        assert wire.Response(sock, "POST").status == 200
        assert time.monotonic() - began > 2


def test_a_stream_goes_on_although_its_reader_says_nothing(hasty: Server, gate: Any) -> None:
    asked = gate.input()
    stream = hasty.stream("gate", asked, thread=None, stream_mode="messages-tuple")
    node = gate.node(asked)
    began = time.monotonic()
    while time.monotonic() < began + 3:
        node.say("word")
        assert stream.next("messages").data[0]["content"] == "word"
    node.finish()
    stream.rest()


@pytest.mark.alone
def test_two_hundred_clients_who_say_nothing_more_hold_nobody_up(hasty: Server) -> None:
    half_open: list[socket.socket] = []
    for number in range(200):
        sock = fix_raw.connect(hasty)
        sock.sendall(list(SLOW.values())[number % len(SLOW)])
        half_open.append(sock)
    seconds = []
    for _ in range(100):
        began = time.monotonic()
        assert hasty.request("GET", "/ok").status == 200
        seconds.append(time.monotonic() - began)
    assert statistics.quantiles(seconds, n=100)[-1] < 0.5
    assert all(until_closed(sock).statuses in ([408], []) for sock in half_open)
    for sock in half_open:
        sock.close()
