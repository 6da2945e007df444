"""Fixtures by subject, and the server's log beside every failure."""

from collections.abc import Iterator
from pathlib import Path

import fix_server
import pytest

pytest_plugins = ["fix_server", "fix_gate", "fix_openai"]


@pytest.fixture(autouse=True)
def _server_log_on_failure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    logs = {path: path.stat().st_size for path in _logs(tmp_path_factory)}
    yield
    report = getattr(request.node, "call_report", None)
    if report is not None and report.failed:
        new = {path: logs.get(path, 0) for path in _logs(tmp_path_factory)}
        report.sections.append(("what the servers wrote meanwhile", fix_server.new_log(new)))


def _logs(factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(factory.getbasetemp().glob("server*/server.log"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.call_report = report
    return report
