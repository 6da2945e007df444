"""Searches for threads find what the filter describes, begin at an index, and read no more than they show."""

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from fix_database import only_sqlite
from sqlalchemy import text

from server.clock import new_id
from server.errors import Invalid, TooLarge
from server.models import Page, Thread, ThreadStatus
from server.rules.threads import Extract, ThreadFields, ThreadQuery
from server.storage import metadata_index, thread_search, threads
from server.storage.database import Database, SqliteDatabase, Tx
from server.storage.deadline import deadline
from server.storage.history import contains
from server.storage.migrate import migrate

AT = "2026-01-01T00:00:00.000000+00:00"
EVERYTHING = ThreadQuery()
IDS = ThreadFields(select=("thread_id",))

# What somebody would break out of a statement with, or out of a path in JSON.
HOSTILE = [
    "'", '"', "' OR 1=1 --", "') OR ('1'='1", '"; DROP TABLE threads; --', "$", "$.a', '$.b", "a.b", "a[0]",
    "#-1", "%", "_", ":key", "?", "\\", "é\u2028\t",
]  # fmt: skip


def thread(thread_id: str, metadata: Any = None, values: Any = None, **fields: Any) -> Thread:
    told = {"created_at": AT, "updated_at": AT, "state_updated_at": AT, "status": ThreadStatus.idle}
    raw = None if values is None else orjson.dumps(values)
    made = {**told, **fields, "thread_id": thread_id, "metadata": metadata or {}, "values": raw}
    return Thread(config={}, error=None, **made)


def add(database: Database, *found: Thread) -> None:
    def work(tx: Tx) -> None:
        for each in found:
            threads.add(tx, each)

    database.write_now(work)


def search(
    database: Database, query: ThreadQuery = EVERYTHING, show: ThreadFields = IDS, **page: Any
) -> tuple[list[dict[str, Any]], int]:
    return database.read_now(lambda tx: thread_search.search(tx, query, Page(**page), show))


def ids(database: Database, **query: Any) -> set[str]:
    """The ids of all threads that are found, which are as many as are counted, in both ways."""
    found, total = search(database, ThreadQuery(**query), limit=1_000)
    counted = database.read_now(lambda tx: thread_search.count(tx, ThreadQuery(**query)))
    assert len(found) == total == counted
    return {row["thread_id"] for row in found}


def extract(database: Database, document: str, *steps: str | int) -> Any:
    show = ThreadFields(extract={"it": Extract(document, steps)})
    return orjson.loads(search(database, show=show)[0][0]["extracted"]["it"])


# ---------------------------------------------------------------------------------- what is found

VALUES: list[Any] = [
    *(
        0,
        1,
        1.0,
        -1,
        0.1,
        2**53,
        2**63,
        1e300,
        True,
        False,
        None,
        "",
        "a",
        "A",
        "1",
        "true",
        "null",
        "\u00e9",
    ),
    *("x" * 200, "x" * 201, "x" * 200 + "y", "é" * 100, "é" * 101, {}, {"b": 1}, [], [1], [1, 2]),
]


def test_a_search_by_metadata_finds_the_threads_that_contain_them(database: Database) -> None:
    add(database, *(thread(f"{index:02}", {"a": value, "n": 1}) for index, value in enumerate(VALUES)))
    for wanted in VALUES:
        # What the database finds must be what containment is by definition; lists are another test's.
        if isinstance(wanted, list):
            continue
        expected = {
            f"{index:02}" for index, value in enumerate(VALUES) if contains({"a": value}, {"a": wanted})
        }
        assert ids(database, metadata={"a": wanted}) == expected, wanted
        assert ids(database, metadata={"a": wanted, "n": 1}) == expected, wanted
    assert ids(database, metadata={"a": [2, 1]}) == {f"{VALUES.index([1, 2]):02}"}


def test_any_search_finds_what_looking_at_every_thread_finds(database: Database) -> None:
    chance = random.Random(7)
    scalars = [1, 2.5, "x", "y", True, False, None]

    def document(keys: int) -> dict[str, Any]:
        found = {chance.choice("abc"): chance.choice(scalars) for _ in range(keys)}
        return {**found, "d": {"e": chance.choice(scalars)}} if chance.random() < 0.3 else found

    made = [
        thread(new_id(), document(4), document(3), status=chance.choice([*ThreadStatus])) for _ in range(200)
    ]
    add(database, *made)
    for _ in range(200):
        metadata, values = document(chance.randrange(3)), document(chance.randrange(2))
        status = chance.choice([None, *ThreadStatus])
        among = {each.thread_id for each in chance.sample(made, 50)} if chance.random() < 0.3 else set()
        expected = {
            each.thread_id
            for each in made
            if contains(each.metadata, metadata)
            and contains(orjson.loads(each.values or b""), values)
            and status in (None, each.status)
            and (not among or each.thread_id in among)
        }
        query = {"metadata": metadata, "values": values, "status": status, "ids": tuple(among)}
        assert ids(database, **query) == expected, query


def test_it_does_not_matter_whether_few_or_many_have_a_term(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, *(thread(f"{n:03}", {"all": 1, "few": n % 10}, updated_at=f"{n:03}") for n in range(100)))
    for few in (2, 11, 1_000):
        monkeypatch.setattr(thread_search, "FEW", few)
        query = ThreadQuery(metadata={"all": 1, "few": 7})
        found, total = search(database, query, limit=3, offset=2)
        assert ([row["thread_id"] for row in found], total) == (["077", "067", "057"], 10)


def test_a_thread_without_values_is_found_by_none(database: Database) -> None:
    add(database, thread("fresh"), thread("list", values=[1]), thread("ran", values={"topic": "cats"}))
    assert ids(database, values={"topic": "cats"}) == {"ran"}
    assert ids(database, values={"0": 1}) == set()


@only_sqlite
def test_the_index_follows_every_change_of_the_metadata(database: Database) -> None:
    def index() -> set[tuple[Any, ...]]:
        query = "SELECT key, value, thread_id FROM thread_metadata"
        return database.read_now(lambda tx: {tuple(row) for row in tx.exec_driver_sql(query)})

    add(database, thread("t", {"a": 1, "b": "x", "c": None, "d": [1], "e": {"f": 1}, "k" * 201: 1}))
    assert index() == {("a", 1, "t"), ("b", "x", "t"), ("c", b"null", "t")}
    database.write_now(lambda tx: threads.describe(tx, "t", {"a": True, "b": "x"}, AT))
    assert index() == {("a", b"true", "t"), ("b", "x", "t")}
    database.write_now(lambda tx: threads.begin_run(tx, "t", {"a": True, "graph_id": "g"}, AT))
    assert index() == {("a", b"true", "t"), ("graph_id", "g", "t")}
    assert database.write_now(lambda tx: threads.remove(tx, "t"))
    assert index() == set()


def test_threads_that_were_there_before_the_index_are_found(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "graphwire.db")
    migrate(database, "0004")
    row = """('t', '', '', '', '{"owner":"u1","n":1.5}', 'idle', '{}', NULL, NULL, '{}')"""
    insert = f"INSERT INTO threads VALUES {row}"
    database.write_now(lambda tx: tx.exec_driver_sql(insert).rowcount)
    migrate(database)
    assert ids(database, metadata={"owner": "u1", "n": 1.5}) == {"t"}
    database.close()


# ------------------------------------------------------------------------------ hostile keys and values


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_a_hostile_key_finds_the_thread_that_has_it_and_no_other(database: Database, key: str) -> None:
    add(database, thread("other", {"safe": 1}, {"safe": 1}))
    assert ids(database, metadata={key: 1}) == ids(database, values={key: 1}) == set()
    add(database, thread("it", {key: 1, "n": {key: [key]}, "t": key}, {key: 1}))
    for metadata in ({key: 1}, {"n": {key: [key]}}, {"t": key}, {key: 1, "t": key}):
        assert ids(database, metadata=metadata) == {"it"}
    assert ids(database, values={key: 1}) == {"it"}
    assert ids(database, ids=(key,)) == set()
    assert ids(database) == {"it", "other"}


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_a_hostile_key_leads_nowhere_else(database: Database, key: str) -> None:
    add(database, thread("t", values={"safe": "secret", "a": ["secret"], "b": {"c": "secret"}}))
    assert extract(database, "values", key) is None
    assert extract(database, "values", "a", key) is None
    assert extract(database, "metadata", key, 0, -1, key) is None


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_only_declared_fields_can_be_sorted_by(database: Database, key: str) -> None:
    with pytest.raises(Invalid, match=r"^sort_by: "):
        search(database, sort_by=key)


@pytest.mark.parametrize("field", ["metadata", "values"])
def test_a_filter_beyond_the_limits_is_refused(database: Database, field: str) -> None:
    for wanted in ({f"key {number}": number for number in range(101)}, {"a": list(range(100))}):
        with pytest.raises(Invalid, match=f"^{field}: a filter has at most"):
            ids(database, **{field: wanted})
    assert ids(database, **{field: {f"key {number}": number for number in range(100)}}) == set()


def test_as_many_ids_as_may_be_asked_for_are_looked_up(database: Database) -> None:
    add(database, thread("t"))
    assert ids(database, ids=(*(new_id() for _ in range(999)), "t")) == {"t"}


# ---------------------------------------------------------------------------------- order and pages


def test_threads_are_sorted_by_every_field_in_both_directions(database: Database) -> None:
    fields = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")
    chance, made = random.Random(3), []
    for _ in range(30):
        times = {name: f"{chance.randrange(100):03}" for name in fields[2:]}
        made.append(thread(new_id(), status=chance.choice([*ThreadStatus]), **times))
    add(database, *made)
    for field in fields:
        for descending in (False, True):
            # Equals: what changed last comes first, then by id.
            expected = sorted(made, key=lambda each: each.thread_id)
            expected.sort(key=lambda each: each.updated_at, reverse=True)
            expected.sort(key=lambda each: str(getattr(each, field)), reverse=descending)
            found, _ = search(database, sort_by=field, descending=descending, limit=30)
            assert [row["thread_id"] for row in found] == [each.thread_id for each in expected], field


def test_pages_make_up_the_whole_and_the_total_is_true(database: Database) -> None:
    add(database, *(thread(f"{number:02}", {"n": number % 2}) for number in range(14)))
    pages = [search(database, ThreadQuery(metadata={"n": 1}), limit=3, offset=n) for n in (0, 3, 6, 9)]
    assert [total for _, total in pages] == [7, 7, 7, 7]
    assert [row["thread_id"] for rows, _ in pages for row in rows] == [f"{n:02}" for n in range(1, 14, 2)]


# ---------------------------------------------------------------------------------- extracts


def test_parts_of_documents_come_back_as_they_are(database: Database) -> None:
    values = (
        b'{"big":123456789012345678901234567890,"pi":3.141592653589793,'
        b'"m":[{"t":"a\\"b"},{"t":"c"}],"n":null}'
    )
    made = thread("t", {"a": {"b": [1, 2]}})
    database.write_now(
        lambda tx: threads.add(
            tx, Thread(*(made.thread_id, AT, AT, AT, made.metadata, made.status, {}, values, None))
        )
    )
    show = ThreadFields(extract={"big": Extract("values", ("big",)), "pi": Extract("values", ("pi",))})
    assert search(database, show=show)[0][0]["extracted"] == {
        "big": b"123456789012345678901234567890",
        "pi": b"3.141592653589793",
    }
    assert extract(database, "values", "m", -1, "t") == "c"
    assert extract(database, "values", "m", 0) == {"t": 'a"b'}
    assert extract(database, "metadata", "a", "b") == [1, 2]
    assert extract(database, "interrupts") == extract(database, "config") == {}
    for steps in (("n",), ("zz",), ("m", 2), ("m", -3), ("m", "t"), ("pi", "x"), ("m", 999_999_999)):
        assert extract(database, "values", *steps) is None, steps


def test_of_a_thread_that_never_ran_there_is_nothing_to_extract(database: Database) -> None:
    add(database, thread("t"))
    assert extract(database, "values", "a") is None
    assert extract(database, "values") is None


# ---------------------------------------------------------------------------------- limits


def test_a_page_that_is_too_large_is_refused_before_all_of_it_is_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, *(thread(str(number), values={"a": "x" * 1_000}) for number in range(5)))
    monkeypatch.setattr(thread_search, "BYTES_MAX", 2_500)
    with pytest.raises(TooLarge, match=r"^The page is larger than 2500 bytes"):
        search(database, show=ThreadFields())
    assert len(search(database)[0]) == 5


def test_a_statement_that_takes_too_long_is_given_up_and_the_next_is_not(database: Database) -> None:
    endless = text("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c")

    def work(tx: Tx) -> None:
        with deadline(tx, 0.05, "too long"):
            tx.execute(endless).all()

    def after(tx: Tx) -> Any:
        return tx.execute(text("SELECT count(*) FROM threads")).scalar()

    for _ in range(8):  # every reader, some of them twice
        with pytest.raises(TooLarge, match="too long"):
            database.read_now(work)
    assert [database.read_now(after) for _ in range(8)] == [0] * 8


# ---------------------------------------------------------------------------------- plans


def plan(database: Database, work: Callable[[Tx], Any]) -> list[list[str]]:
    """How SQLite goes about each statement of a unit of work, its arguments put in."""

    def traced(tx: Tx) -> list[list[str]]:
        raw = cast(sqlite3.Connection, tx.connection.driver_connection)
        statements: list[str] = []
        raw.set_trace_callback(statements.append)
        work(tx)
        raw.set_trace_callback(None)
        return [
            [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for statement in statements
            if statement.startswith("SELECT")
        ]

    return database.read_now(traced)


def plan_of(database: Database, query: ThreadQuery, **page: Any) -> tuple[list[str], list[str]]:
    """How the page of a search is found, and how its threads are counted."""
    found = plan(database, lambda tx: thread_search.search(tx, query, Page(**page), IDS))
    return found[-2], found[-1]


@pytest.fixture
def many(database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> SqliteDatabase:
    """Threads of which all have one term and few another."""
    add(database, *(thread(new_id(), {"graph_id": "agent", "owner": f"u{n % 50}"}) for n in range(200)))
    monkeypatch.setattr(thread_search, "FEW", 100)
    return database


TERM = "SEARCH thread_metadata USING PRIMARY KEY (key=? AND value=?)"


@only_sqlite
@pytest.mark.parametrize("status", [None, ThreadStatus.idle])
def test_a_search_begins_with_what_few_threads_have(
    many: SqliteDatabase, status: ThreadStatus | None
) -> None:
    query = ThreadQuery(metadata={"graph_id": "agent", "owner": "u7"}, status=status)
    page, counted = plan_of(many, query)
    assert "SEARCH threads USING INDEX sqlite_autoindex_threads_1 (thread_id=?)" in page
    assert TERM in page
    assert TERM in counted
    assert [step for step in (*page, *counted) if step.startswith("SCAN threads")] == []


@only_sqlite
@pytest.mark.parametrize("field", ["created_at", "updated_at", "state_updated_at", "status", "thread_id"])
@pytest.mark.parametrize("descending", [True, False])
def test_what_many_have_is_searched_in_the_order_of_an_index(
    many: SqliteDatabase, field: str, descending: bool
) -> None:
    query = ThreadQuery(metadata={"graph_id": "agent"})
    page, counted = plan_of(many, query, sort_by=field, descending=descending)
    index = "sqlite_autoindex_threads_1" if field == "thread_id" else f"threads_{field}_idx"
    assert page[0].startswith("SCAN threads USING")
    assert page[0].endswith(f"INDEX {index}")
    assert "USE TEMP B-TREE FOR ORDER BY" not in page  # for the right part, among equals, at most
    assert not any("threads" in step.replace("thread_metadata", "") for step in counted)
    assert TERM in counted


@only_sqlite
def test_threads_of_a_status_are_found_and_counted_by_its_index(many: SqliteDatabase) -> None:
    page, counted = plan_of(many, ThreadQuery(status=ThreadStatus.interrupted))
    assert page == ["SEARCH threads USING COVERING INDEX threads_status_idx (status=?)"]
    assert counted == ["SEARCH threads USING COVERING INDEX threads_status_idx (status=?)"]


@only_sqlite
def test_without_a_filter_the_newest_come_from_an_index(many: SqliteDatabase) -> None:
    page, counted = plan_of(many, EVERYTHING)
    assert page == ["SCAN threads USING COVERING INDEX threads_updated_at_idx"]
    assert "USING COVERING INDEX" in counted[0]


@only_sqlite
def test_values_are_not_read_unless_they_are_shown(many: SqliteDatabase) -> None:
    """Not even mentioned: SQLite would have to go through them to what lies behind."""
    for show, read in (
        (IDS, False),
        (ThreadFields(select=("thread_id", "status", "metadata")), False),
        (ThreadFields(select=("values",)), True),
        (ThreadFields(), True),
    ):
        statements: list[str] = []

        def work(tx: Tx, show: ThreadFields = show, statements: list[str] = statements) -> None:
            raw = cast(sqlite3.Connection, tx.connection.driver_connection)
            raw.set_trace_callback(statements.append)
            thread_search.search(tx, ThreadQuery(metadata={"owner": "u1"}), Page(), show)
            raw.set_trace_callback(None)

        many.read_now(work)
        assert any('"values"' in statement for statement in statements) is read


@only_sqlite
def test_looking_for_a_rare_term_stops_at_the_limit(many: SqliteDatabase) -> None:
    def work(tx: Tx) -> int:
        terms, _ = metadata_index.split(tx, {"graph_id": "agent"})
        return metadata_index.count(tx, terms, 100)

    assert many.read_now(work) == 100
