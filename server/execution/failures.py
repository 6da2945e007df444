"""Exceptions as clients see them: `{error, message}` (contract/runs.md 12)."""

from langgraph.errors import EmptyInputError, InvalidUpdateError

from ..errors import StorageFull, describe
from ..models import Json

MASKED = "An internal error occurred"
# The classes whose text the reference lets through; it is what clients know, and most texts written for
# people are in them. The setting GRAPHWIRE_ERROR_TEXT widens or closes this (docs/configuration.md).
KNOWN = (
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
    TimeoutError,
    InvalidUpdateError,
    EmptyInputError,
    StorageFull,
)


def describe_failure(failure: BaseException, error_text: str) -> Json:
    """The class name always; the text by the rule `known`, `all` or `none`. Of a group, its first member."""
    while isinstance(failure, BaseExceptionGroup) and failure.exceptions:
        failure = failure.exceptions[0]
    shown = error_text == "all" or (error_text == "known" and isinstance(failure, KNOWN))
    found = describe(failure)
    return found if shown else {**found, "message": MASKED}
