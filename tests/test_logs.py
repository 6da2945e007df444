"""One line is one line, and no secret is in it."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from server.telemetry import logs

PASSWORD = "hunter2-of-the-database"
FORGED = "harmless\n2026-11-23T00:00:00Z [info] all is well \x1b[31m\u2028\u202e"


@pytest.fixture(autouse=True)
def _the_logging_of_the_tests() -> Iterator[None]:
    """Put back what `configure` changes for the whole process."""
    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.configure(**config)
    structlog.contextvars.clear_contextvars()
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


def fails(text: str) -> None:
    raise ValueError(text)


def say_everything(text: str) -> None:
    """The same in every way in which something can be said."""
    structlog.get_logger("ours").warning("said", text=text)
    logging.getLogger("theirs").warning("they said %s", text)
    logging.getLogger("theirs").warning("they said", extra={"text": text})
    try:
        fails(text)
    except ValueError:
        logging.getLogger("theirs").exception("failed")


@pytest.mark.parametrize("as_json", [True, False])
def test_passwords_in_urls_are_hidden_wherever_they_are_said(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    logs.configure("INFO", as_json)
    say_everything(f"cannot reach postgresql://graphs:{PASSWORD}@db:5432/graphs?sslmode=require")
    said = capsys.readouterr().err
    assert PASSWORD not in said
    assert said.count("postgresql://graphs:***@db:5432/graphs?sslmode=require") == 4


@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_of_the_settings_are_hidden_wherever_they_are_said(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    logs.configure("INFO", as_json, [PASSWORD, "ab"])
    say_everything(f"the password is {PASSWORD}, abc")
    said = capsys.readouterr().err
    assert PASSWORD not in said
    assert said.count("the password is ***, abc") == 4


def test_a_text_with_control_characters_forges_no_line_for_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("INFO", False)
    say_everything(FORGED)
    said = capsys.readouterr().err
    assert not set(said) & {"\x1b", "\u2028", "\u202e", "\r"}
    beginnings = [line for line in said.splitlines() if not line.startswith("    ")]
    assert len(beginnings) == 4
    assert all(" [warning  ] " in line or " [error    ] " in line for line in beginnings)
    assert "\\x1b[31m\\u2028\\u202e" in said


def test_json_is_one_object_a_line_whatever_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", True)
    say_everything(FORGED)
    said = capsys.readouterr().err
    assert said.isascii()
    assert len([json.loads(line) for line in said.splitlines()]) == 4


def test_what_is_bound_is_in_every_line_and_gone_with_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", True)
    logs.bind(run_id="r1", identity="ann", request_id="")
    logging.getLogger("theirs").warning("one")
    logs.bind(run_id="r2")
    structlog.get_logger("ours").warning("two")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["run_id"], first["identity"], "request_id" in first) == ("r1", "ann", False)
    assert (second["run_id"], "identity" in second) == ("r2", False)
