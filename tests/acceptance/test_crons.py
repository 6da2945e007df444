"""Crons, as users of the official clients meet them, on a server whose clock is the real one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from fix_gate import Gate
from fix_ledger import Ledger, ledger
from fix_server import CONFIG, RunningServer, Server, eventually
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    UnprocessableEntityError,
)

from .test_js_sdk import Client as JsClient
from .test_js_sdk import node

__all__ = ["ledger"]

EVERY_SECOND = "* * * * * *"
NEVER_NOW = "0 0 1 1 *"
UNKNOWN = "00000000-0000-4000-8000-00000000ffff"
FIELDS = [
    "cron_id",
    "assistant_id",
    "thread_id",
    "user_id",
    "end_time",
    "schedule",
    "timezone",
    "payload",
    "next_run_date",
    "metadata",
    "on_run_completed",
    "enabled",
    "created_at",
    "updated_at",
]


class Client:
    """`client.crons` of the SDK; the synchronous one is asked on a thread."""

    def __init__(self, crons: Any, is_async: bool) -> None:
        self._crons = crons
        self._is_async = is_async

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._crons, name)
        if self._is_async:
            return method  # type: ignore[no-any-return]
        return lambda *args, **kwargs: asyncio.to_thread(method, *args, **kwargs)


@pytest.fixture(scope="module")
def server(start_server: RunningServer) -> Server:
    return start_server(CONFIG.with_name("faults.json"))


@pytest.fixture(params=["async", "sync"])
async def crons(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    if request.param == "async":
        async with get_client(url=server.url, api_key=None) as client:
            yield Client(client.crons, is_async=True)
    else:
        with get_sync_client(url=server.url, api_key=None) as client:
            yield Client(client.crons, is_async=False)


@pytest.fixture
def tag() -> dict[str, str]:
    """Metadata that nobody else uses: tests share a server."""
    return {"test": str(uuid4())}


@pytest.fixture(autouse=True)
def _delete_crons(server: Server) -> Iterator[None]:
    """None of a test's crons goes on in the next one."""
    yield
    while found := server.post("/runs/crons/search", {"limit": 1_000}):
        for cron in found:
            server.request("DELETE", f"/runs/crons/{cron['cron_id']}").body()


def get(server: Server, cron: dict[str, Any]) -> dict[str, Any]:
    """One cron; neither SDK has a method for it."""
    return dict(server.get(f"/runs/crons/{cron['cron_id']}"))


def runs(server: Server, thread_id: str) -> list[dict[str, Any]]:
    """The runs of a thread, the oldest first."""
    return list(server.get(f"/threads/{thread_id}/runs?limit=1000"))[::-1]


def has_runs(server: Server, thread_id: str, count: int) -> bool:
    """Whether so many runs of a thread come to their end."""
    return eventually(
        lambda: [run["status"] for run in runs(server, thread_id)].count("success") >= count, seconds=20
    )


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# ---------------------------------------------------------------- create, get
async def test_a_new_cron_is_what_was_said_of_it(server: Server, crons: Client, tag: dict[str, str]) -> None:
    made = await crons.create(
        "echo",
        schedule="0 5 * * *",
        timezone="Europe/Paris",
        input={"n": 1},
        metadata=tag,
        on_run_completed="keep",
    )
    assert list(made) == FIELDS
    assert UUID(made["cron_id"]).version == 7
    assert made["thread_id"] is made["end_time"] is None
    assert (made["user_id"], made["enabled"], made["on_run_completed"]) == ("", True, "keep")
    assert (made["schedule"], made["timezone"], made["metadata"]) == ("0 5 * * *", "Europe/Paris", tag)
    assert made["created_at"] == made["updated_at"]
    assert made["payload"] == {
        "assistant_id": made["assistant_id"],
        "schedule": "0 5 * * *",
        "timezone": "Europe/Paris",
        "input": {"n": 1},
        "metadata": tag,
        "on_run_completed": "keep",
        "config": {"configurable": {"cron_id": made["cron_id"]}},
    }
    assert moment(made["next_run_date"]).astimezone(ZoneInfo("Europe/Paris")).hour == 5
    assert made["next_run_date"].endswith(":00:00+00:00")
    assert get(server, made) == made


async def test_a_cron_on_a_thread_is_what_was_said_of_it(server: Server, crons: Client) -> None:
    thread_id = server.new_thread()
    made = await crons.create_for_thread(
        thread_id, "echo", schedule="*/10 * * * *", multitask_strategy="reject", enabled=False
    )
    assert list(made) == FIELDS
    assert (made["thread_id"], made["enabled"], made["on_run_completed"]) == (thread_id, False, None)
    assert made["timezone"] is None
    assert made["payload"] == {
        "assistant_id": made["assistant_id"],
        "schedule": "*/10 * * * *",
        "multitask_strategy": "reject",
        "enabled": False,
        "config": {"configurable": {"cron_id": made["cron_id"]}},
    }
    assert moment(made["next_run_date"]) - datetime.now(UTC) <= timedelta(minutes=10)


async def test_everything_that_the_sdk_can_say_is_taken(crons: Client) -> None:
    said = {
        "input": {"n": 1},
        "config": {"tags": ["t"], "recursion_limit": 9},
        "context": {"model": "m"},
        "interrupt_before": ["a"],
        "interrupt_after": "*",
        "stream_mode": ["values", "updates"],
        "stream_subgraphs": True,
        "stream_resumable": True,
        "durability": "exit",
        "multitask_strategy": "interrupt",
    }
    made = await crons.create("echo", schedule=NEVER_NOW, timezone=UTC, end_time=datetime(2099, 1, 1), **said)
    config = {**said["config"], "configurable": {"cron_id": made["cron_id"]}}  # type: ignore[dict-item]
    assert made["payload"] == {
        **said,
        "config": config,
        "schedule": NEVER_NOW,
        "timezone": "UTC",
        "end_time": "2099-01-01T00:00:00",
        "assistant_id": made["assistant_id"],
    }
    assert made["end_time"] == "2099-01-01T00:00:00"


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"schedule": "bad"}, UnprocessableEntityError, "schedule: 'bad'"),
        ({"schedule": "* " * 129}, UnprocessableEntityError, "schedule: "),
        ({"schedule": "0 0 30 2 *"}, BadRequestError, "schedule: '0 0 30 2"),
        ({"timezone": "Nope/X"}, UnprocessableEntityError, "timezone: 'Nope/X'"),
        ({"timezone": timezone(timedelta(hours=5))}, UnprocessableEntityError, "timezone: "),
        ({"timezone": "x" * 10_000}, UnprocessableEntityError, "timezone: "),
        ({"webhook": "http://127.0.0.1:1/x"}, UnprocessableEntityError, "Webhook host blocked"),
        ({"multitask_strategy": "nope"}, UnprocessableEntityError, "multitask_strategy: "),
        ({"on_run_completed": "nope"}, UnprocessableEntityError, "on_run_completed: "),
        ({"stream_mode": "nope"}, UnprocessableEntityError, "stream_mode"),
        ({"config": {"configurable": {"a": 1}}, "context": {"b": 1}}, BadRequestError, "context"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_could_never_run_is_refused(
    crons: Client, said: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await crons.create("echo", **{"schedule": NEVER_NOW, **said})


async def test_unknown_assistants_graphs_and_threads_are_told_apart(server: Server, crons: Client) -> None:
    with pytest.raises(NotFoundError, match=UNKNOWN):
        await crons.create(UNKNOWN, schedule=NEVER_NOW)
    with pytest.raises(UnprocessableEntityError, match="echo"):  # the graphs that there are
        await crons.create("nope", schedule=NEVER_NOW)
    with pytest.raises(NotFoundError, match=UNKNOWN):
        await crons.create_for_thread(UNKNOWN, "echo", schedule=NEVER_NOW)


def test_a_missing_field_is_named(server: Server) -> None:
    """D37: 500 on the reference."""
    for path in ("/runs/crons", f"/threads/{server.new_thread()}/runs/crons"):
        for body, missing in (({}, "assistant_id"), ({"assistant_id": "echo"}, "schedule")):
            answer = server.request("POST", path, body)
            assert answer.status == 422
            assert f"{missing}: '{missing}' is a required property" in answer.json()["detail"]


@pytest.mark.parametrize("cron_id", ["x", UNKNOWN, UNKNOWN.upper(), "search", "..%2f"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_cron_that_is_not_there_is_not_found(server: Server, method: str, cron_id: str) -> None:
    answer = server.request(
        method, f"/runs/crons/{cron_id}", {"enabled": True} if method == "PATCH" else None
    )
    is_id = cron_id.lower() == UNKNOWN
    assert answer.status == (404 if is_id or "%2f" in cron_id else 422)
    assert answer.json()["detail"]


def test_the_server_says_that_it_has_crons(server: Server) -> None:
    assert server.get("/info")["flags"]["crons"] is True


def test_a_caller_has_so_many_crons_and_ticks_keep_their_distance(start_server: RunningServer) -> None:
    small = start_server(GRAPHWIRE_CRONS_PER_IDENTITY_MAX="1", GRAPHWIRE_CRON_INTERVAL_SECONDS_MIN="60")
    with get_sync_client(url=small.url, api_key=None) as client:
        with pytest.raises(UnprocessableEntityError, match="60 is the least"):
            client.crons.create("echo", schedule=EVERY_SECOND)
        client.crons.create("echo", schedule="* * * * *")
        with pytest.raises(ConflictError, match="You have 1 crons"):
            client.crons.create("echo", schedule="* * * * *")


# ---------------------------------------------------------------- change, delete
async def test_a_change_leaves_what_it_does_not_name(server: Server, crons: Client) -> None:
    made = await crons.create("echo", schedule="0 5 * * *", metadata={"m": 1}, input={"n": 1})
    after = await crons.update(
        made["cron_id"],
        schedule="0 6 * * *",
        timezone="Asia/Kathmandu",
        enabled=False,
        metadata={"x": 2},
        on_run_completed="keep",
        end_time=datetime(2099, 1, 1, tzinfo=UTC),
    )
    assert get(server, made) == after
    assert (after["schedule"], after["timezone"]) == ("0 6 * * *", "Asia/Kathmandu")
    assert moment(after["next_run_date"]).strftime("%H:%M") == "00:15"
    assert after["metadata"] == after["payload"]["metadata"] == {"m": 1, "x": 2}
    assert (after["enabled"], after["on_run_completed"]) == (False, "keep")
    assert after["end_time"] == "2099-01-01T00:00:00+00:00"
    assert after["payload"]["input"] == {"n": 1}
    assert after["created_at"] == made["created_at"] < after["updated_at"]
    cleared = await crons.update(made["cron_id"], end_time=None)
    assert cleared["end_time"] is None


async def test_an_empty_change_is_refused(crons: Client) -> None:
    made = await crons.create("echo", schedule=NEVER_NOW)
    with pytest.raises(BadRequestError, match="nothing"):
        await crons.update(made["cron_id"])


async def test_a_deleted_cron_is_gone(server: Server, crons: Client) -> None:
    made = await crons.create("echo", schedule=NEVER_NOW)
    await crons.delete(made["cron_id"])
    assert server.request("GET", f"/runs/crons/{made['cron_id']}").status == 404
    with pytest.raises(NotFoundError, match=made["cron_id"]):
        await crons.delete(made["cron_id"])


async def test_crons_go_with_their_assistant_and_their_thread(server: Server, crons: Client) -> None:
    thread_id = server.new_thread()
    assistant_id = server.post("/assistants", {"graph_id": "echo"})["assistant_id"]
    of_assistant = await crons.create(assistant_id, schedule=NEVER_NOW)
    of_thread = await crons.create_for_thread(thread_id, "echo", schedule=NEVER_NOW)
    left = await crons.create("echo", schedule=NEVER_NOW)
    assert server.request("DELETE", f"/assistants/{assistant_id}").status == 204
    assert server.request("DELETE", f"/threads/{thread_id}").status == 204
    statuses = [
        server.request("GET", f"/runs/crons/{cron['cron_id']}").status
        for cron in (of_assistant, of_thread, left)
    ]
    assert statuses == [404, 404, 200]


# ---------------------------------------------------------------- search, count
async def test_crons_are_found_and_counted(server: Server, crons: Client, tag: dict[str, str]) -> None:
    thread_id = server.new_thread()
    first = await crons.create("echo", schedule="1 0 1 1 *", metadata={**tag, "a": [1, {"b": 2}]})
    second = await crons.create_for_thread(
        thread_id, "gate", schedule="2 0 1 1 *", metadata=tag, enabled=False, end_time=datetime(2099, 1, 1)
    )
    assert await crons.search(metadata=tag) == [second, first]
    assert await crons.search(metadata={"a": [{"b": 2}]}, assistant_id="echo") == [first]
    assert await crons.search(metadata=tag, assistant_id=second["assistant_id"]) == [second]
    assert await crons.search(thread_id=thread_id) == [second]
    assert await crons.search(metadata=tag, enabled=True) == [first]
    assert await crons.search(metadata=tag, sort_by="created_at", sort_order="asc") == [first, second]
    assert await crons.search(metadata=tag, sort_by="end_time") == [first, second]  # D40: no end is the last
    assert await crons.search(metadata=tag, limit=1, offset=1) == [first]
    selected = await crons.search(metadata=tag, select=["cron_id", "schedule"], limit=1)
    assert selected == [{"cron_id": second["cron_id"], "schedule": "2 0 1 1 *"}]
    assert await crons.count(metadata=tag) == 2
    assert await crons.count(thread_id=thread_id) == 1
    assert await crons.count(assistant_id="echo", metadata=tag) == 1
    with pytest.raises(UnprocessableEntityError, match="nope"):
        await crons.search(assistant_id="nope")


def test_a_page_tells_how_many_there_are_and_where_the_next_begins(
    server: Server, tag: dict[str, str]
) -> None:
    for _ in range(3):
        server.post("/runs/crons", {"assistant_id": "echo", "schedule": NEVER_NOW, "metadata": tag})
    for offset, following in ((0, "1"), (1, "2"), (2, None), (9, None)):
        body = {"metadata": tag, "limit": 1, "offset": offset}
        answer = server.request("POST", "/runs/crons/search", body)
        assert answer.header("x-pagination-total") == "3"
        assert answer.header("x-pagination-next") == following
        assert len(answer.json()) == (offset < 3)
    assert server.post("/runs/crons/count", {"metadata": tag, "enabled": False}) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"sort_by": "payload"},
        {"sort_by": "cron_id; DROP TABLE crons"},
        {"sort_order": "up"},
        {"select": ["nope"]},
        {"select": ["now"]},
        {"limit": 0},
        {"limit": 1_001},
        {"offset": -1},
        {"limit": 2**70},
        {"thread_id": "x"},
        {"enabled": "yes"},
        {"metadata": []},
        [],
    ],
    ids=str,
)
def test_a_search_that_makes_no_sense_is_refused(server: Server, body: Any) -> None:
    answer = server.request("POST", "/runs/crons/search", body)
    assert answer.status == 422
    assert answer.json()["detail"]


@pytest.mark.parametrize("key", ["a' OR 1=1 --", '"', "$.a", "a.b", "]", "\\", "%", "😀", ""])
def test_keys_of_a_filter_are_no_sql(server: Server, key: str) -> None:
    """Reliability I4."""
    server.post(
        "/runs/crons", {"assistant_id": "echo", "schedule": NEVER_NOW, "metadata": {"k": 1, key: "v"}}
    )
    server.post("/runs/crons", {"assistant_id": "echo", "schedule": NEVER_NOW, "metadata": {"k": 1}})
    assert server.post("/runs/crons/count", {"metadata": {key: "v"}}) == 1
    assert server.post("/runs/crons/count", {"metadata": {key: "other"}}) == 0


# ---------------------------------------------------------------- runs
async def test_a_cron_runs_on_its_thread_on_time_and_once_a_tick(server: Server, crons: Client) -> None:
    thread_id = server.new_thread()
    made = await crons.create_for_thread(
        thread_id, "echo", schedule="* * * * * */2", input={"x": 1}, metadata={"m": 1}, context={"c": 1}
    )
    assert has_runs(server, thread_id, 3)
    await crons.delete(made["cron_id"])
    found = runs(server, thread_id)
    created = [moment(run["created_at"]) for run in found]
    due = [at.replace(second=at.second // 2 * 2, microsecond=0) for at in created]
    assert all(at - tick < timedelta(seconds=1) for at, tick in zip(created, due, strict=True))
    assert len(set(due)) == len(due)
    assert due[0].isoformat() == made["next_run_date"]
    for run in found:
        assert (run["metadata"]["cron_id"], run["metadata"]["m"]) == (made["cron_id"], 1)
        assert run["kwargs"]["config"]["configurable"]["cron_id"] == made["cron_id"]
        assert (run["kwargs"]["input"], run["kwargs"]["context"]) == ({"x": 1}, {"c": 1})
    history = server.post(f"/threads/{thread_id}/history", {"limit": 1})
    assert history[0]["metadata"]["cron_id"] == made["cron_id"]


async def test_the_thread_of_a_run_is_kept_on_wish_and_says_of_which_cron_it_is(
    server: Server, crons: Client, ledger: Ledger
) -> None:
    said = {"schedule": EVERY_SECOND, "input": ledger.input(1, 0), "metadata": {"m": 1}}
    for on_run_completed in ("keep", "delete"):
        made = await crons.create("ledger", **said, on_run_completed=on_run_completed)
        seen = len(ledger.steps())
        assert eventually(lambda seen=seen: len(ledger.steps()) > seen, seconds=20)  # type: ignore[misc]
        thread = f"/threads/{ledger.steps()[seen].thread}"
        if on_run_completed == "delete":
            assert eventually(lambda path=thread: server.request("GET", path).status == 404)  # type: ignore[misc]
            continue
        await crons.update(made["cron_id"], enabled=False)
        assert eventually(lambda path=thread: server.get(path)["status"] == "idle")  # type: ignore[misc]
        found = server.get(thread)
        assert (found["metadata"]["cron_id"], found["metadata"]["m"]) == (made["cron_id"], 1)
        assert found["values"]["steps"] == 1


async def test_a_change_holds_for_the_next_run(server: Server, crons: Client, gate: Gate) -> None:
    """Off, on, and with another input: each as soon as the change was answered."""
    before, after = gate.input(), gate.input()
    made = await crons.create("gate", schedule=NEVER_NOW, input=before)
    await crons.update(made["cron_id"], schedule=EVERY_SECOND)
    gate.node(before)
    await crons.update(made["cron_id"], enabled=False)
    off = get(server, made)
    await crons.update(made["cron_id"], enabled=True, input=after)
    gate.node(after)
    assert moment(off["next_run_date"]) < moment(get(server, made)["next_run_date"])


async def test_a_cron_ends_at_its_end_and_the_others_go_on(server: Server, crons: Client) -> None:
    """D43: on the reference no cron runs any more when one has an end."""
    ending, lasting = server.new_thread(), server.new_thread()
    end = datetime.now(UTC) + timedelta(seconds=3)
    made = await crons.create_for_thread(ending, "echo", schedule=EVERY_SECOND, input={}, end_time=end)
    await crons.create_for_thread(lasting, "echo", schedule=EVERY_SECOND, input={})
    assert eventually(lambda: get(server, made)["next_run_date"] is None, seconds=20)
    count = len(runs(server, ending))
    assert count >= 2
    assert has_runs(server, lasting, len(runs(server, lasting)) + 2)
    assert len(runs(server, ending)) == count
    assert all(moment(run["created_at"]) < end + timedelta(seconds=1) for run in runs(server, ending))


async def test_a_cron_whose_graph_fails_stops_no_other(server: Server, crons: Client) -> None:
    thread_id, failing = server.new_thread(), server.new_thread()
    await crons.create_for_thread(failing, "ledger", schedule=EVERY_SECOND, input={})
    await crons.create_for_thread(thread_id, "echo", schedule=EVERY_SECOND, input={})
    assert has_runs(server, thread_id, 3)
    assert runs(server, failing)[0]["status"] == "error"
    assert len(runs(server, failing)) >= 3


def test_javascript_makes_changes_finds_and_deletes_crons(server: Server, tag: dict[str, str]) -> None:
    with node("client.mjs", server.url) as process:
        client = JsClient(process)
        thread_id = client.new_thread()
        said = {"schedule": "0 5 * * *", "timezone": "Europe/Paris", "input": {"n": 1}, "metadata": tag}
        made = client.call(
            "crons.create", "echo", {**said, "onRunCompleted": "keep", "endTime": "2099-01-01"}
        )
        assert (list(made), made["payload"]["end_time"]) == (FIELDS, "2099-01-01")
        bound = client.call(
            "crons.createForThread", thread_id, "echo", {**said, "multitaskStrategy": "reject"}
        )
        assert bound["thread_id"] == thread_id
        after = client.call("crons.update", made["cron_id"], {"enabled": False, "schedule": "0 6 * * *"})
        assert (after["enabled"], after["schedule"], after["timezone"]) == (
            False,
            "0 6 * * *",
            "Europe/Paris",
        )
        assert client.call("crons.search", {"metadata": tag, "enabled": True}) == [bound]
        assert client.call("crons.count", {"metadata": tag}) == 2
        client.start("crons.delete", made["cron_id"])
        assert client.hear() == {}
        assert client.call("crons.search", {"metadata": tag}) == [bound]
        process.kill()
