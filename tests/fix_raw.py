"""Bytes to a server and back, with no client library between: what abuse looks like."""

import os
import re
import select
import socket
import time
from dataclasses import dataclass

from fix_server import Server

SECONDS_MAX = 30.0
JSON = b"Content-Type: application/json\r\n"


@dataclass(frozen=True)
class Heard:
    """What came until the server closed: the bytes, and the statuses of all answers in them."""

    data: bytes
    seconds: float

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", self.data, re.MULTILINE)]


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS_MAX)


def until_closed(sock: socket.socket) -> Heard:
    """All that comes until the server closes; it must."""
    began, data = time.monotonic(), b""
    try:
        while part := sock.recv(65536):
            data += part
    except ConnectionResetError:
        pass
    return Heard(data, time.monotonic() - began)


def tell(server: Server, data: bytes) -> Heard:
    """Send bytes, as many as are taken, and hear until the server closes."""
    with connect(server) as sock:
        send(sock, data)
        return until_closed(sock)


def send(sock: socket.socket, data: bytes) -> int:
    """Send until all is sent or the server has something to say; returns how much was sent."""
    sent = 0
    sock.setblocking(False)
    try:
        while sent < len(data):
            readable, writable, _ = select.select([sock], [sock], [], SECONDS_MAX)
            if readable or not writable:
                break
            sent += sock.send(data[sent : sent + 262_144])
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        sock.settimeout(SECONDS_MAX)
    return sent


def cpu_seconds(server: Server) -> float:
    """Time that the processor spent on the server so far."""
    with open(f"/proc/{server.process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
