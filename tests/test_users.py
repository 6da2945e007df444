"""Users as handlers and graphs meet them, the filters that handlers return, and what is masked."""

import copy
import pickle
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from langgraph_sdk.auth.types import BaseUser

from server.rules.access import EVERYTHING, AnyOf, BadFilter, Holds, Scope, parsed_filter
from server.rules.masking import masked
from server.rules.users import NoUser, User, authenticated, stored


@dataclass
class Person:
    identity: str
    team: str = "blue"

    def greet(self) -> str:
        return f"hello {self.identity}"


def test_a_user_is_a_mapping_and_an_object() -> None:
    user = authenticated({"identity": "ann", "email": "a@x"}).user
    assert (user["email"], user.email, user.get("email"), "email" in user) == ("a@x",) * 3 + (True,)
    assert dict(user) == {
        "identity": "ann",
        "display_name": "ann",
        "is_authenticated": True,
        "email": "a@x",
    }
    assert isinstance(user, BaseUser)
    with pytest.raises(AttributeError):
        _ = user.phone
    with pytest.raises(KeyError):
        user["phone"]


def test_a_user_made_of_an_object_has_what_that_has_and_only_the_standard_keys() -> None:
    user = authenticated(Person("ann")).user
    assert (user.team, user.greet(), user["identity"]) == ("blue", "hello ann", "ann")
    assert "team" not in user
    assert stored(user) == {**dict(user), "team": "blue"}


@pytest.mark.parametrize("made", [{"identity": "ann", "n": {"a": [1]}}, Person("ann"), "ann"])
def test_a_user_can_be_copied_and_kept(made: Any) -> None:
    user = authenticated(made).user
    assert copy.copy(user) == copy.deepcopy(user) == pickle.loads(pickle.dumps(user)) == user
    kept = stored(user)
    assert kept is not None
    assert orjson.loads(orjson.dumps(kept)) == kept
    assert User(kept).identity == "ann"


@pytest.mark.parametrize(
    ("result", "permissions"),
    [
        ("ann", ()),
        ({"identity": "ann", "permissions": ["a"]}, ("a",)),
        ((["b"], {"identity": "ann", "permissions": ["a"]}), ("b",)),
        ((["b"], "ann"), ("b",)),
        (SimpleNamespace(identity="ann", permissions=["c"]), ("c",)),
        ({"identity": "ann", "permissions": None}, ()),
    ],
)
def test_every_form_of_a_user_is_known(result: Any, permissions: tuple[str, ...]) -> None:
    found = authenticated(result)
    assert (found.user.identity, found.permissions) == ("ann", permissions)
    assert found.user.permissions == list(permissions)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "",
        {},
        {"identity": ""},
        {"identity": 7},
        {"identity": None},
        "x" * 513,
        "a\0b",
        {"identity": "x", "is_authenticated": False},
        SimpleNamespace(identity="x", is_authenticated=False),
        {"identity": "x", "permissions": "all"},
        {"identity": "x", "permissions": [1]},
        (["a"], None),
        object(),
        True,
    ],
)
def test_nobody_is_nobody(result: Any) -> None:
    with pytest.raises(NoUser):
        authenticated(result)


def test_a_user_that_is_too_large_is_not_kept() -> None:
    with pytest.raises(ValueError, match="bytes"):
        stored(User({"identity": "x", "much": "x" * 70_000}))


# ------------------------------------------------------------------------------------------------ filters


def test_filters_become_tests() -> None:
    assert parsed_filter({"a": 1, "b": {"$eq": "x"}, "c": {"$contains": ["y", "z"]}}) == (
        Holds("a", 1),
        Holds("b", "x"),
        Holds("c", ("y", "z"), listed=True),
    )
    assert parsed_filter({"$or": [{"a": 1}, {"b": 2, "c": 3}]}) == (
        AnyOf(((Holds("a", 1),), (Holds("b", 2), Holds("c", 3)))),
    )
    assert parsed_filter({"$and": [{"a": 1}, {"b": 2}]}) == (Holds("a", 1), Holds("b", 2))
    assert parsed_filter({}) == ()


@pytest.mark.parametrize(
    "given",
    [
        {"a": {"$ne": 1}},
        {"a": {"b": 1}},
        {"a": {}},
        {"a": [1]},
        {"a": object()},
        {"$not": {"a": 1}},
        {"$or": []},
        {"$or": {"a": 1}},
        {"$or": [1]},
        {"$and": "x"},
        {"a": {"$contains": []}},
        {"a": {"$contains": [{}]}},
        {1: "x"},
        {str(number): 1 for number in range(101)},
    ],
)
def test_what_is_no_filter_is_refused_not_passed_over(given: Any) -> None:
    with pytest.raises(BadFilter):
        parsed_filter(given)


def test_a_filter_nested_without_end_is_refused() -> None:
    given: Any = {"a": 1}
    for _ in range(20):
        given = {"$and": [given]}
    with pytest.raises(BadFilter):
        parsed_filter(given)


def test_two_scopes_together_are_the_narrower() -> None:
    owner, filtered = Scope("ann"), Scope(tests=(Holds("a", 1),))
    assert owner & filtered == filtered & owner == Scope("ann", tests=(Holds("a", 1),))
    assert owner & EVERYTHING == EVERYTHING & owner == owner
    assert not EVERYTHING
    assert owner
    assert filtered


# ------------------------------------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "OPENAI_API_KEY", "key", "github-token", "token", "dbPassword", "client_secret"],
)
def test_texts_under_names_of_secrets_are_masked(name: str) -> None:
    given = {"a": {name: "s3cret", "b": 1}}
    assert masked(given) == {"a": {name: "***", "b": 1}}
    assert given["a"][name] == "s3cret"


@pytest.mark.parametrize(
    "given",
    [{"keywords": "x"}, {"monkey": "x"}, {"max_tokens": 5}, {"token": None}, {"key": ""}, {"tokenizer": "x"}],
)
def test_what_is_no_secret_stays_the_same(given: dict[str, Any]) -> None:
    assert masked(given) is given
