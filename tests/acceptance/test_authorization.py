"""Which handler is asked what, in which order, and what its answer does (contract/resources.md 10.2)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import wire
from fix_auth import GRAPHS, bearer, variant
from fix_server import RunningServer, Server, eventually

RUN = {"assistant_id": "echo", "input": {}}
CRON = {"assistant_id": "echo", "schedule": "0 0 1 1 *"}
CREATE_RUN = [
    "after_seconds",
    "assistant_id",
    "if_not_exists",
    "kwargs",
    "metadata",
    "multitask_strategy",
    "prevent_insert_if_inflight",
    "run_id",
    "status",
    "thread_id",
]
ASSISTANT = ["assistant_id", "config", "context", "graph_id", "metadata", "name"]
SEARCH = ["limit", "metadata", "offset", "status", "values"]


class Telling:
    """A server whose handlers write down what they are asked."""

    def __init__(self, server: Server, file: Path) -> None:
        self.server, self._file = server, file

    def ask(self, method: str, path: str, body: Any = None, user: str = "ann") -> wire.Response:
        return wire.request(self.server.port, method, path, body, headers=bearer(user))

    def made(self, path: str, body: Any, user: str = "ann") -> Any:
        answer = self.ask("POST", path, body, user)
        assert answer.status == 200, answer.body()
        return answer.json()

    def told(self, method: str, path: str, body: Any = None) -> list[dict[str, Any]]:
        """What was asked because of a request, in its order."""
        before = len(self._lines())
        answer = self.ask(method, path, body)
        text = answer.body()
        assert answer.status < 300, text
        return self._lines()[before:]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()]


@pytest.fixture(scope="module")
def telling(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Telling:
    folder = tmp_path_factory.mktemp("telling")
    file = folder / "told"
    file.touch()
    config = variant(folder, {"path": f"{GRAPHS}/owners.py:telling"})
    return Telling(start_server(config, TOLD=str(file)), file)


@pytest.fixture(scope="module")
def ids(telling: Telling) -> dict[str, str]:
    thread = telling.made("/threads", {"metadata": {"graph_id": "echo"}})["thread_id"]
    telling.made(f"/threads/{thread}/runs/wait", RUN)
    run = telling.ask("GET", f"/threads/{thread}/runs").json()[0]["run_id"]
    assistant = telling.made("/assistants", {"graph_id": "echo"})["assistant_id"]
    cron = telling.made("/runs/crons", CRON)["cron_id"]
    return {"T": thread, "R": run, "A": assistant, "C": cron}


ASSISTANT_READ = ("assistants.read", ["assistant_id"])
THREAD_READ = ("threads.read", ["thread_id"])
RUN_READ = ("threads.read", ["run_id", "thread_id"])
CRON_CREATE = (
    "crons.create",
    ["cron_id", "end_time", "metadata", "payload", "schedule", "thread_id", "user_id"],
)
CRON_SEARCH = [
    ("crons.search", ["assistant_id", "limit", "metadata", "offset", "thread_id"]),
    ("threads.search", ["metadata", "thread_id"]),
]
ITEM = {"namespace": ["n"], "key": "k"}

# Request -> (resource.action, keys of the value), in the order in which they are asked.
TABLE: dict[str, tuple[Any, list[tuple[str, list[str]]]]] = {
    "POST /assistants": ({"graph_id": "echo"}, [("assistants.create", ASSISTANT)]),
    "GET /assistants/A": (None, [ASSISTANT_READ]),
    "GET /assistants/A/graph": (None, [ASSISTANT_READ]),
    "GET /assistants/A/schemas": (None, [ASSISTANT_READ]),
    "GET /assistants/A/subgraphs": (None, [ASSISTANT_READ]),
    "POST /assistants/A/versions": ({}, [ASSISTANT_READ]),
    "PATCH /assistants/A": ({"name": "x"}, [("assistants.update", ASSISTANT)]),
    "POST /assistants/A/latest": ({"version": 1}, [("assistants.update", ["assistant_id", "version"])]),
    "POST /assistants/search": (
        {},
        [("assistants.search", ["graph_id", "limit", "metadata", "offset"])],
    ),
    "POST /assistants/count": (
        {},
        [("assistants.search", ["graph_id", "limit", "metadata", "offset"])],
    ),
    "POST /threads": ({}, [("threads.create", ["if_exists", "metadata", "thread_id"])]),
    "POST /threads#past": (
        {
            "metadata": {"graph_id": "echo"},
            "supersteps": [{"updates": [{"values": {"x": 1}, "as_node": "a"}]}],
        },
        [
            ("threads.create", ["if_exists", "metadata", "thread_id"]),
            ("threads.update", ["thread_id"]),
            THREAD_READ,
        ],
    ),
    "GET /threads/T": (None, [THREAD_READ]),
    "GET /threads/T/state": (None, [THREAD_READ]),
    "GET /threads/T/history": (None, [THREAD_READ]),
    "GET /threads/T/storage": (None, [THREAD_READ]),
    "GET /threads/T/runs": (None, [THREAD_READ, ("threads.search", ["metadata", "thread_id"])]),
    "GET /threads/T/runs/R": (None, [THREAD_READ]),
    "GET /threads/T/runs/R/join": (None, [RUN_READ]),
    "GET /threads/T/runs/R/stream": (None, [RUN_READ]),
    "GET /threads/T/runs/R/deliveries": (None, [RUN_READ]),
    "PATCH /threads/T": ({"metadata": {}}, [("threads.update", ["metadata", "thread_id"])]),
    "POST /threads/T/state": ({"values": {"x": 1}}, [("threads.update", ["thread_id"]), THREAD_READ]),
    "POST /threads/T/copy": (None, [THREAD_READ, ("threads.create", ["metadata", "thread_id"])]),
    "POST /threads/search": ({}, [("threads.search", SEARCH)]),
    "POST /threads/count": ({}, [("threads.search", SEARCH)]),
    "POST /threads/prune": (
        {"thread_ids": ["T"], "strategy": "keep_latest"},
        [("threads.delete", ["thread_ids"]), ("threads.delete", ["thread_id"])],
    ),
    "POST /threads/T/runs/wait": (RUN, [("threads.create_run", CREATE_RUN), ASSISTANT_READ, THREAD_READ]),
    "POST /runs/wait": (RUN, [("threads.create_run", CREATE_RUN), ASSISTANT_READ]),
    "POST /runs/stream": (RUN, [("threads.create_run", CREATE_RUN), ASSISTANT_READ]),
    "POST /runs/batch": ([RUN, RUN], [("threads.create_run", CREATE_RUN), ASSISTANT_READ] * 2),
    "POST /runs/crons": (CRON, [CRON_CREATE, ASSISTANT_READ]),
    "POST /threads/T/runs/crons": (CRON, [CRON_CREATE, ASSISTANT_READ, THREAD_READ]),
    "GET /runs/crons/C": (None, [("crons.read", ["cron_id"])]),
    "PATCH /runs/crons/C": (
        {"enabled": False},
        [
            (
                "crons.update",
                [
                    "cron_id",
                    "enabled",
                    "end_time",
                    "metadata",
                    "on_run_completed",
                    "payload",
                    "schedule",
                ],
            )
        ],
    ),
    "POST /runs/crons/search": ({}, CRON_SEARCH),
    "POST /runs/crons/count": ({}, CRON_SEARCH),
    "PUT /store/items": (
        {**ITEM, "value": {}},
        [("store.put", ["index", "key", "namespace", "ttl", "value"])],
    ),
    "GET /store/items?namespace=n&key=k": (None, [("store.get", ["key", "namespace", "refresh_ttl"])]),
    "POST /store/items/search": (
        {"namespace_prefix": ["n"]},
        [("store.search", ["filter", "limit", "namespace", "offset", "query", "refresh_ttl"])],
    ),
    "POST /store/namespaces": (
        {},
        [("store.list_namespaces", ["limit", "max_depth", "namespace", "offset", "suffix"])],
    ),
    "DELETE /store/items": (ITEM, [("store.delete", ["key", "namespace"])]),
    "DELETE /runs/crons/C": (None, [("crons.delete", ["cron_id"])]),
    "DELETE /threads/T/runs/R": (None, [("threads.delete", ["run_id", "thread_id"])]),
    "DELETE /assistants/A": (
        None,
        [
            ("assistants.delete", ["assistant_id"]),
            ("threads.update", ["action", "metadata", "thread_id"]),
        ],
    ),
    "DELETE /threads/T": (None, [("threads.delete", ["thread_id"])]),
}


@pytest.mark.parametrize("request_line", TABLE)
def test_the_handlers_of_the_contract_are_asked_in_its_order(
    telling: Telling, ids: dict[str, str], request_line: str
) -> None:
    body, expected = TABLE[request_line]
    method, path = request_line.partition("#")[0].split()
    parts = [ids.get(part, part) for part in path.split("/")]
    if body is not None:
        body = json.loads(json.dumps(body).replace('"T"', f'"{ids["T"]}"'))
    found = telling.told(method, "/".join(parts), body)
    assert [(one["what"], one["keys"]) for one in found] == expected
    for one in found:
        known = {kind for key, kind in one["ids"].items() if key not in ("user_id", "graph_id")}
        assert known <= {"UUID", "NoneType"}  # whatever they are elsewhere


def test_a_cancel_asks_to_update_the_thread(telling: Telling) -> None:
    thread = telling.made("/threads", {})["thread_id"]
    run = telling.made(f"/threads/{thread}/runs", {**RUN, "after_seconds": 600})["run_id"]
    found = telling.told("POST", f"/threads/{thread}/runs/{run}/cancel?wait=true")
    assert [(one["what"], one["keys"]) for one in found] == [
        ("threads.update", ["action", "metadata", "thread_id"])
    ]


def test_the_runs_of_a_cron_are_asked_for_when_it_comes(telling: Telling) -> None:
    """In the name of who made it."""
    thread = telling.made("/threads", {})["thread_id"]
    before = len(telling._lines())
    telling.made(f"/threads/{thread}/runs/crons", {**CRON, "schedule": "* * * * * *"}, "cronmaker")
    assert eventually(
        lambda: any(
            one["what"] == "threads.create_run" and one["who"] == "cronmaker"
            for one in telling._lines()[before:]
        )
    )


# ---------------------------------------------------------------------------------------- what it answers


@pytest.mark.parametrize(
    ("user", "status", "detail"),
    [
        ("deny", 403, "Forbidden"),
        ("weird", 500, "Internal Server Error"),
        ("badop", 500, "Internal Server Error"),
        ("badkey", 500, "Internal Server Error"),
        ("emptyop", 500, "Internal Server Error"),
    ],
)
@pytest.mark.parametrize("path", ["/threads/search", "/threads", "/threads/count", "/runs/wait"])
def test_what_is_no_answer_lets_nobody_in(
    telling: Telling, user: str, status: int, detail: str, path: str
) -> None:
    answer = telling.ask("POST", path, RUN if "runs" in path else {}, user)
    assert (answer.status, answer.json()) == (status, {"detail": detail})


@pytest.mark.parametrize(
    ("user", "status", "detail"),
    [
        ("http", 409, "handler says 409"),
        ("value", 400, "handler blew up"),
        ("boom", 500, "Internal Server Error"),
    ],
)
def test_exceptions_of_the_most_specific_handler_are_its_answer(
    telling: Telling, user: str, status: int, detail: str
) -> None:
    thread = telling.made("/threads", {})["thread_id"]
    answer = telling.ask("DELETE", f"/threads/{thread}", None, user)
    assert (answer.status, answer.json()) == (status, {"detail": detail})
    assert telling.ask("GET", f"/threads/{thread}").status == 200


KINDS: dict[str, dict[str, Any]] = {
    "red": {"color": "red"},
    "blue": {"color": "blue"},
    "tagged": {"tags": ["x"]},
    "both": {"color": "red", "tags": ["y", "x", "z"]},
    "text tag": {"tags": "x"},
    "one": {"size": 1},
    "true": {"size": True},
    "null": {"color": None},
    "none": {},
    "listed": {"color": ["red"]},
    "nested": {"color": {"$eq": "red"}},
}
SEEN = {
    "either": {"red", "tagged", "both"},
    "both": {"both"},
    "equal": {"red", "both"},
    "number": {"one"},
    "truth": {"true"},
    "null": {"null"},
    "nothing": set(KINDS),
    "ann": set(KINDS),
}


@pytest.fixture(scope="module")
def kinds(telling: Telling) -> dict[str, str]:
    """thread id -> its name"""
    return {
        telling.made("/threads", {"metadata": {**metadata, "kind": "filtered"}})["thread_id"]: name
        for name, metadata in KINDS.items()
    }


@pytest.mark.parametrize("user", SEEN)
def test_a_filter_shows_what_its_words_say_wherever_it_is_asked(
    telling: Telling, kinds: dict[str, str], user: str
) -> None:
    query = {"metadata": {"kind": "filtered"}, "limit": 100}
    found = telling.ask("POST", "/threads/search", query, user).json()
    assert {kinds[thread["thread_id"]] for thread in found} == SEEN[user]
    assert telling.ask("POST", "/threads/count", {"metadata": {"kind": "filtered"}}, user).json() == len(
        SEEN[user]
    )
    single = {
        name
        for thread, name in kinds.items()
        if telling.ask("GET", f"/threads/{thread}", None, user).status == 200
    }
    assert single == SEEN[user]


# ------------------------------------------------------------------------------- what a handler has put in


@pytest.fixture(scope="module")
def stamping(start_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Telling:
    folder = tmp_path_factory.mktemp("stamping")
    file = folder / "none"
    file.touch()
    return Telling(start_server(variant(folder, {"path": f"{GRAPHS}/owners.py:stamping"})), file)


Make = Callable[[Telling, str, Any], Any]


def thread_of(server: Telling, user: str, metadata: Any) -> Any:
    return server.made("/threads", {"metadata": metadata}, user)["metadata"]


def patched_thread(server: Telling, user: str, metadata: Any) -> Any:
    thread = server.made("/threads", {}, user)["thread_id"]
    return server.ask("PATCH", f"/threads/{thread}", {"metadata": metadata}, user).json()["metadata"]


def assistant_of(server: Telling, user: str, metadata: Any) -> Any:
    return server.made("/assistants", {"graph_id": "echo", "metadata": metadata}, user)["metadata"]


def patched_assistant(server: Telling, user: str, metadata: Any) -> Any:
    made = server.made("/assistants", {"graph_id": "echo"}, user)["assistant_id"]
    return server.ask("PATCH", f"/assistants/{made}", {"metadata": metadata}, user).json()["metadata"]


def cron_of(server: Telling, user: str, metadata: Any) -> Any:
    return server.made("/runs/crons", {**CRON, "metadata": metadata}, user)["metadata"]


def run_of(server: Telling, user: str, metadata: Any) -> Any:
    thread = server.made("/threads", {}, user)["thread_id"]
    return server.made(f"/threads/{thread}/runs", {**RUN, "metadata": metadata}, user)["metadata"]


def threads_of_run(server: Telling, user: str, metadata: Any) -> Any:
    thread = str(uuid4())
    server.made(f"/threads/{thread}/runs", {**RUN, "if_not_exists": "create", "metadata": metadata}, user)
    return {**metadata, **server.ask("GET", f"/threads/{thread}", None, user).json()["metadata"]}


@pytest.mark.parametrize(
    "make",
    [thread_of, patched_thread, assistant_of, patched_assistant, cron_of, run_of, threads_of_run],
)
def test_what_a_handler_puts_into_metadata_wins_over_the_client(stamping: Telling, make: Make) -> None:
    found = make(stamping, "ann", {"owner": "spoof", "k": 1})
    assert (found["owner"], found["k"]) == ("ann", 1)


def test_a_cron_whose_runs_keep_their_threads_makes_them_its_makers(stamping: Telling) -> None:
    cron = {**CRON, "schedule": "* * * * * *", "on_run_completed": "keep", "input": {}}
    made = stamping.made("/runs/crons", cron, "keeper")["cron_id"]
    query = {"metadata": {"cron_id": made}, "limit": 1}
    assert eventually(lambda: bool(stamping.ask("POST", "/threads/search", query, "keeper").json()))
    found = stamping.ask("POST", "/threads/search", query, "keeper").json()[0]
    assert found["metadata"]["owner"] == "keeper"
    assert stamping.ask("POST", "/threads/search", query, "other").json() == []
    assert stamping.ask("DELETE", f"/runs/crons/{made}", None, "keeper").status == 204


def test_a_handler_may_put_another_namespace_into_a_call_of_the_store(stamping: Telling) -> None:
    item = {"namespace": ["n"], "key": "k", "value": {"v": 1}}
    assert stamping.ask("PUT", "/store/items", item, "ann").status == 204
    found = stamping.ask("GET", "/store/items?namespace=n&key=k", None, "ann").json()
    assert (found["namespace"], found["value"]) == (["ann", "n"], {"v": 1})
    assert stamping.ask("GET", "/store/items?namespace=n&key=k", None, "bob").json() is None
    assert stamping.ask("POST", "/store/namespaces", {}, "ann").json() == {"namespaces": [["ann", "n"]]}
    search = stamping.ask("POST", "/store/items/search", {"namespace_prefix": ["n"]}, "ann").json()
    assert [item["key"] for item in search["items"]] == ["k"]


def test_the_rule_for_what_no_handler_says_can_be_relaxed(
    start_server: RunningServer, tmp_path: Path
) -> None:
    auth = {"path": f"{GRAPHS}/owners.py:plain", "unmatched": "allow"}
    server = start_server(variant(tmp_path, auth))
    made = server.request("POST", "/threads", {}, headers=bearer("ann")).json()["thread_id"]
    assert server.request("GET", f"/threads/{made}", headers=bearer("bob")).status == 200
