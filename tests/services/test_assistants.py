"""Rules of assistants on a real database: settings that mirror each other, versions, names of graphs."""

import asyncio
from typing import Any

import pytest

from server.errors import Contradiction, Invalid, NotFound
from server.models import METADATA_BYTES_MAX, Assistant, AssistantChange, AssistantQuery, Caller, Page
from server.services.assistants import Assistants, changed
from server.services.resolution import automatic, automatic_id, resolve
from server.services.threads import Threads
from server.storage.database import Database
from server.streaming.log import Limits
from server.streaming.memory import MemoryBroker
from server.streaming.signals import LocalSignals

NOBODY = Caller()
GRAPHS = ("agent", "other")
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"


@pytest.fixture
async def assistants(database: Database) -> Assistants:
    return serving(database, GRAPHS)


def serving(database: Database, graphs: tuple[str, ...]) -> Assistants:
    threads = Threads(database, MemoryBroker(Limits()), LocalSignals())
    return Assistants(database, threads, graphs)


async def new(assistants: Assistants, **said: Any) -> Assistant:
    return await assistants.create(NOBODY, None, AssistantChange(graph_id="agent", **said), "raise")


# ---------------------------------------------------------------- what a change does
def after(change: AssistantChange, **before: Any) -> tuple[Any, Any]:
    """(config, context) of an assistant after a change."""
    assistant = Assistant("a", "agent", "n", None, {}, {}, {}, 1, "", "")
    start = changed(assistant, AssistantChange(**before)) if before else assistant
    end = changed(start, change)
    return end.config, end.context


@pytest.mark.parametrize(
    ("said", "config", "context"),
    [
        ({"config": {"configurable": {"a": 1}}}, {"configurable": {"a": 1}}, {"a": 1}),
        ({"context": {"a": 1}}, {"configurable": {"a": 1}}, {"a": 1}),
        ({"config": {"x": 1}, "context": {"a": 1}}, {"x": 1, "configurable": {"a": 1}}, {"a": 1}),
        ({"config": {"configurable": {}}, "context": {"a": 1}}, {"configurable": {"a": 1}}, {"a": 1}),
        ({"config": {"configurable": {"a": 1}}, "context": {}}, {"configurable": {"a": 1}}, {"a": 1}),
        ({"config": {}}, {}, {}),
        ({"context": {}}, {}, {}),
        ({"config": {"tags": ["t"]}}, {"tags": ["t"]}, {}),
        ({}, {}, {}),
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_a_new_assistant_are_in_config_and_context(said: Any, config: Any, context: Any) -> None:
    assert after(AssistantChange(**said)) == (config, context)


@pytest.mark.parametrize(
    ("said", "config", "context"),
    [
        ({"name": "x"}, {"tags": ["t"], "configurable": {"old": 1}}, {"old": 1}),
        ({"context": {"a": 1}}, {"tags": ["t"], "configurable": {"a": 1}}, {"a": 1}),
        ({"config": {"configurable": {"a": 1}}}, {"configurable": {"a": 1}}, {"a": 1}),
        ({"context": {}}, {"tags": ["t"]}, {}),
        ({"config": {}}, {}, {}),
        ({"config": {}, "context": {}}, {}, {}),
    ],
    ids=str,
)
def test_settings_that_are_given_replace_the_old_ones(said: Any, config: Any, context: Any) -> None:
    before = {"config": {"tags": ["t"], "configurable": {"old": 1}}}
    assert after(AssistantChange(**said), **before) == (config, context)


def test_two_kinds_of_settings_contradict_each_other() -> None:
    with pytest.raises(Contradiction):
        after(AssistantChange(config={"configurable": {"a": 1}}, context={"a": 1}))


def test_an_empty_name_is_untitled() -> None:
    assistant = Assistant("a", "agent", "n", None, {}, {}, {}, 1, "", "")
    assert changed(assistant, AssistantChange(name="")).name == "Untitled"


def test_metadata_is_limited_with_what_is_there() -> None:
    assistant = Assistant("a", "agent", "n", None, {}, {}, {"a": "x" * (METADATA_BYTES_MAX - 20)}, 1, "", "")
    assert changed(assistant, AssistantChange(metadata={"b": "xx"})).metadata["b"] == "xx"
    with pytest.raises(Invalid, match=r"^metadata: "):
        changed(assistant, AssistantChange(metadata={"b": "x" * 20}))


# ---------------------------------------------------------------- names and ids
async def test_a_name_and_every_form_of_the_id_stand_for_the_assistant(assistants: Assistants) -> None:
    await assistants.add_automatic([("agent", "agent", None)])
    assistant_id = automatic_id("agent")
    assert assistant_id == "fe096781-5601-53d2-b2f6-0d3403f7e9ca"
    forms = ["agent", assistant_id, assistant_id.upper(), assistant_id.replace("-", "")]
    assert {(await assistants.get(NOBODY, form)).assistant_id for form in forms} == {assistant_id}


async def test_a_deleted_automatic_assistant_is_gone_but_its_graph_can_be_used(
    assistants: Assistants, database: Database
) -> None:
    await assistants.add_automatic([("agent", "Agent", "d")])
    await assistants.patch(NOBODY, "agent", AssistantChange(context={"a": 1}))
    await assistants.delete(NOBODY, "agent", with_threads=False)
    for name in ("agent", automatic_id("agent")):
        with pytest.raises(NotFound):
            await assistants.get(NOBODY, name)
    used = await assistants.resolved(NOBODY, "agent")
    assert (used.assistant_id, used.graph_id, used.context) == (automatic_id("agent"), "agent", {})
    with pytest.raises(NotFound):
        await database.read(lambda tx: resolve(tx, automatic_id("agent"), GRAPHS))


async def test_automatic_assistants_are_added_once(assistants: Assistants) -> None:
    await assistants.add_automatic([("agent", "agent", None)])
    patched = await assistants.patch(NOBODY, "agent", AssistantChange(name="mine"))
    await assistants.add_automatic([("agent", "agent", None), ("other", "other", "new")])
    assert await assistants.get(NOBODY, "agent") == patched
    assert (await assistants.get(NOBODY, "other")).description == "new"
    assert len(await assistants.versions(NOBODY, "agent", {}, Page())) == 2


async def test_an_assistant_whose_graph_is_gone_can_be_seen_and_mended_but_not_used(
    assistants: Assistants, database: Database
) -> None:
    made = await new(assistants)
    fewer = serving(database, ("other",))
    assert await fewer.get(NOBODY, made.assistant_id) == made
    with pytest.raises(NotFound):
        await fewer.resolved(NOBODY, made.assistant_id)
    await fewer.patch(NOBODY, made.assistant_id, AssistantChange(graph_id="other"))
    assert (await fewer.resolved(NOBODY, made.assistant_id)).graph_id == "other"
    with pytest.raises(NotFound, match="agent"):  # that version's graph
        await fewer.set_latest(NOBODY, made.assistant_id, 1)


def test_the_automatic_assistant_says_who_made_it() -> None:
    found = automatic("agent", "Agent", "d")
    assert (found.name, found.description, found.version) == ("Agent", "d", 1)
    assert found.metadata == {"created_by": "system"}


# ---------------------------------------------------------------- many at once
async def test_changes_at_the_same_time_get_versions_of_their_own(assistants: Assistants) -> None:
    made = await new(assistants)
    changes = [AssistantChange(metadata={str(number): number}) for number in range(50)]
    found = await asyncio.gather(*(assistants.patch(NOBODY, made.assistant_id, change) for change in changes))
    assert sorted(one.version for one in found) == list(range(2, 52))
    last = await assistants.get(NOBODY, made.assistant_id)
    assert last.metadata == {str(number): number for number in range(50)}
    assert len(await assistants.versions(NOBODY, made.assistant_id, {}, Page(limit=1_000))) == 51


async def test_of_many_who_make_the_same_assistant_one_wins(assistants: Assistants) -> None:
    said = [AssistantChange(graph_id="agent", name=str(number)) for number in range(20)]
    found = await asyncio.gather(*(assistants.create(NOBODY, UNKNOWN, one, "do_nothing") for one in said))
    assert len({one.name for one in found}) == 1
    assert await assistants.count(NOBODY, AssistantQuery()) == 1


async def test_of_many_who_delete_an_assistant_one_succeeds(assistants: Assistants) -> None:
    made = await new(assistants)
    found = await asyncio.gather(
        *(assistants.delete(NOBODY, made.assistant_id, with_threads=True) for _ in range(10)),
        return_exceptions=True,
    )
    assert sorted(map(str, found)) == sorted(["None"] + [f"Assistant {made.assistant_id} not found."] * 9)
