"""Statements about assistants and their versions."""

from typing import Any

from sqlalchemy import Select, bindparam, delete, func, insert, select, update

from ..models import Assistant, AssistantQuery, Json, Page
from ..rules.access import EVERYTHING, Scope
from . import filters, metadata_index, scopes
from .database import Tx
from .tables import assistant_versions as versions
from .tables import assistants, threads
from .upserts import upsert

_COLUMNS = tuple(assistants.c)
_VERSION_COLUMNS = tuple(versions.c)
_ORDER = filters.Order(
    {
        "assistant_id": assistants.c.assistant_id,
        "created_at": assistants.c.created_at,
        "updated_at": assistants.c.updated_at,
        "name": filters.lowered(assistants.c.name),
        "graph_id": assistants.c.graph_id,
    },
    default="created_at",
    key=assistants.c.assistant_id,
)

_this = assistants.c.assistant_id == bindparam("of_assistant")
_of_this = versions.c.assistant_id == bindparam("of_assistant")
_replace = update(assistants).where(_this)
_get = select(*_COLUMNS).where(_this)
_get_to_change = _get.with_for_update()
_hold = select(assistants.c.assistant_id).where(_this).with_for_update(key_share=True, read=True)
_get_version = select(*_VERSION_COLUMNS).where(_of_this, versions.c.version == bindparam("of_version"))
_last_version = select(func.max(versions.c.version)).where(_of_this)


def _assistant(row: Any) -> Assistant:
    return Assistant(**row._mapping)


def _version(row: Any) -> Assistant:
    """A version is the assistant as it was; it is never updated."""
    return Assistant(**row._mapping, updated_at=row.created_at)


def add(tx: Tx, assistant: Assistant) -> None:
    """Store a new assistant and its first version; the id must be free."""
    tx.execute(insert(assistants), _values(assistant))
    add_version(tx, assistant)


def add_missing(tx: Tx, found: list[Assistant]) -> None:
    """Store those that are not there yet; patched ones stay as they are."""
    if found:
        rows = [_values(assistant) for assistant in found]
        tx.execute(upsert(tx, assistants).on_conflict_do_nothing(), rows)
        tx.execute(upsert(tx, versions).on_conflict_do_nothing(), [_version_values(one) for one in found])


def add_version(tx: Tx, assistant: Assistant) -> None:
    """Remember what the assistant has become; the version's number must be free."""
    tx.execute(insert(versions), _version_values(assistant))


def replace(tx: Tx, assistant: Assistant) -> None:
    """Store what the assistant is from now on."""
    tx.execute(_replace, {"of_assistant": assistant.assistant_id, **_values(assistant)})


def get(tx: Tx, assistant_id: str, scope: Scope = EVERYTHING) -> Assistant | None:
    """One assistant by id."""
    row = tx.execute(_within(tx, _get, scope), {"of_assistant": assistant_id}).first()
    return _assistant(row) if row else None


def get_to_change(tx: Tx, assistant_id: str, scope: Scope = EVERYTHING) -> Assistant | None:
    """One assistant by id, which nobody else changes before this transaction has ended."""
    row = tx.execute(_within(tx, _get_to_change, scope), {"of_assistant": assistant_id}).first()
    return _assistant(row) if row else None


def _within(tx: Tx, statement: Select[Any], scope: Scope) -> Select[Any]:
    return statement.where(*scopes.within(tx, assistants, scope)) if scope else statement


def hold(tx: Tx, assistant_id: str) -> bool:
    """Keep others from deleting an assistant before this transaction has ended. False if there is none."""
    return tx.execute(_hold, {"of_assistant": assistant_id}).first() is not None


def get_version(tx: Tx, assistant_id: str, version: int) -> Assistant | None:
    """One assistant as it was."""
    row = tx.execute(_get_version, {"of_assistant": assistant_id, "of_version": version}).first()
    return _version(row) if row else None


def last_version(tx: Tx, assistant_id: str) -> int:
    """The highest number a version of this assistant has; 0 if there is none."""
    return tx.execute(_last_version, {"of_assistant": assistant_id}).scalar_one() or 0


def page_of_versions(tx: Tx, assistant_id: str, metadata: Json, page: Page) -> list[Assistant]:
    """The versions of one assistant, newest first."""
    query = select(*_VERSION_COLUMNS).where(
        versions.c.assistant_id == assistant_id, *filters.contains(tx, versions.c.metadata, metadata)
    )
    query = query.order_by(versions.c.version.desc()).limit(page.limit).offset(page.offset)
    return [_version(row) for row in tx.execute(query)]


def search(
    tx: Tx, query: AssistantQuery, page: Page, scope: Scope = EVERYTHING
) -> tuple[list[Assistant], int]:
    """A page of the assistants that a query describes, and how many there are on all pages."""
    conditions = _conditions(tx, query, scope)
    rows, total = filters.page_of(tx, select(*_COLUMNS).where(*conditions), page, _ORDER)
    return [_assistant(row) for row in rows], total


def count(tx: Tx, query: AssistantQuery, scope: Scope = EVERYTHING) -> int:
    """How many assistants a query describes."""
    return filters.count_of(tx, select(*_COLUMNS).where(*_conditions(tx, query, scope)))


def remove(tx: Tx, assistant_id: str) -> bool:
    """Delete an assistant with its versions. False if there was none."""
    return tx.execute(delete(assistants).where(_this), {"of_assistant": assistant_id}).rowcount > 0


def threads_of(tx: Tx, assistant_id: str, after: str, limit: int, scope: Scope = EVERYTHING) -> list[str]:
    """The ids of threads whose last run used the assistant: up to `limit`, those above `after`."""
    wanted = {"assistant_id": assistant_id}
    terms, rest = metadata_index.split(tx, wanted)
    query = terms[0].threads() if terms else select(threads.c.thread_id)
    query = query.where(*filters.contains(tx, threads.c.metadata, rest))
    thread_id = query.selected_columns.thread_id
    query = query.where(*scopes.thread_within(tx, thread_id, scope))
    return list(tx.execute(query.where(thread_id > after).order_by(thread_id).limit(limit)).scalars())


def _conditions(tx: Tx, query: AssistantQuery, scope: Scope) -> list[filters.Condition]:
    found = scopes.within(tx, assistants, scope)
    found += filters.contains(tx, assistants.c.metadata, query.metadata)
    if query.graph_id is not None:
        found.append(assistants.c.graph_id == query.graph_id)
    if query.name:
        found.append(filters.includes(assistants.c.name, query.name))
    return found


def _values(assistant: Assistant) -> dict[str, Any]:
    return {column.name: getattr(assistant, column.name) for column in _COLUMNS}


def _version_values(assistant: Assistant) -> dict[str, Any]:
    found = {column.name: getattr(assistant, column.name) for column in _VERSION_COLUMNS}
    return {**found, "created_at": assistant.updated_at}
