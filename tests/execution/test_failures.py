"""What clients see of an exception: always its class, its text by the operator's rule."""

import asyncio

import pytest
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError
from pydantic import BaseModel, ValidationError

from server.execution.failures import MASKED, describe_failure


class Secret(Exception):
    """An exception whose text nobody wrote for clients."""


class Own(ValueError):
    """A user's exception of a known kind."""


class Mute(ValueError):
    def __str__(self) -> str:
        raise RuntimeError


class Strict(BaseModel):
    a: int


def invalid() -> ValidationError:
    try:
        Strict.model_validate({"a": "x"})
    except ValidationError as error:
        return error
    raise AssertionError


KNOWN = [
    ValueError("text"),
    RuntimeError("text"),
    TypeError("text"),
    AttributeError("text"),
    TimeoutError("text"),
    InvalidUpdateError("text"),
    EmptyInputError("text"),
    Own("text"),
]


@pytest.mark.parametrize("failure", KNOWN, ids=lambda failure: type(failure).__name__)
def test_the_text_of_a_known_class_is_shown(failure: Exception) -> None:
    assert describe_failure(failure, "known") == {"error": type(failure).__name__, "message": "text"}


def test_the_key_of_a_key_error_is_shown() -> None:
    assert describe_failure(KeyError("a"), "known") == {"error": "KeyError", "message": "'a'"}


def test_the_mistakes_in_a_state_are_shown() -> None:
    found = describe_failure(invalid(), "known")
    assert found["error"] == "ValidationError"
    assert "valid integer" in found["message"]


def test_the_text_of_a_recursion_that_went_too_far_is_shown() -> None:
    found = describe_failure(GraphRecursionError("limit of 25"), "known")
    assert found == {"error": "GraphRecursionError", "message": "limit of 25"}


@pytest.mark.parametrize("failure", [Secret("password"), OSError("password"), SystemExit("password")])
def test_the_text_of_another_class_is_masked_and_its_name_is_not(failure: BaseException) -> None:
    assert describe_failure(failure, "known") == {"error": type(failure).__name__, "message": MASKED}


@pytest.mark.parametrize("failure", [Secret("text"), *KNOWN])
def test_the_operator_may_show_every_text(failure: Exception) -> None:
    assert describe_failure(failure, "all")["message"] == "text"


@pytest.mark.parametrize("failure", [Secret("text"), *KNOWN])
def test_the_operator_may_show_none(failure: Exception) -> None:
    assert describe_failure(failure, "none") == {"error": type(failure).__name__, "message": MASKED}


def test_a_group_is_described_by_its_first_member() -> None:
    group = ExceptionGroup("many", [ExceptionGroup("inner", [Own("first")]), Secret("second")])
    assert describe_failure(group, "known") == {"error": "Own", "message": "first"}


async def test_a_failed_task_group_of_a_node_is_described_by_what_failed() -> None:
    async def fail() -> None:
        raise Own("within")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    assert describe_failure(caught.value, "known") == {"error": "Own", "message": "within"}


def test_an_exception_that_cannot_be_read_is_described_nevertheless() -> None:
    assert describe_failure(Mute(), "known") == {"error": "Mute", "message": "(no message)"}
