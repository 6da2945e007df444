"""The server gives memory back: it runs with an allocator that can."""

import os
from pathlib import Path

import pytest
from fix_server import Server, spawn, start, stop


def environment_of(server: Server) -> dict[str, str]:
    entries = Path(f"/proc/{server.process.pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="only glibc has the calls")
@pytest.mark.parametrize(("asked", "used"), [({}, "malloc"), ({"PYTHONMALLOC": "pymalloc"}, "pymalloc")])
def test_the_allocator_is_the_c_librarys_unless_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], used: str
) -> None:
    monkeypatch.delenv("PYTHONMALLOC", raising=False)
    server = start(tmp_path, launch=spawn, **asked)
    try:
        assert environment_of(server)["PYTHONMALLOC"] == used
    finally:
        stop(server)
