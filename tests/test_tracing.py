"""Traces are an extra: what is not installed, or not asked for, is not in the way."""

import sys

import pytest
import structlog

from server.telemetry import tracing


def test_without_a_collector_nothing_is_traced() -> None:
    assert tracing.open_tracing(None) is None


def test_without_the_extra_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "server.telemetry.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with structlog.testing.capture_logs() as lines:
        assert tracing.open_tracing("http://127.0.0.1:4318") is None
    assert [line["event"] for line in lines] == ["no traces are sent: install graphwire[otel]"]
