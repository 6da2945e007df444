"""Which assistant an id or a graph's name stands for, and the ones that graphs have by themselves."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from ..clock import now
from ..errors import Invalid, NotFound
from ..models import Assistant
from ..rules.access import EVERYTHING, Scope
from ..storage import assistants as statements
from ..storage.database import Tx

# The namespace of the automatic assistants (contract/resources.md 3.1): one digit away from RFC 9562's.
_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def automatic_id(graph_id: str) -> str:
    """The id of the assistant that every graph has by itself; clients compute it too."""
    return str(uuid5(_NAMESPACE, graph_id))


def automatic(graph_id: str, name: str, description: str | None) -> Assistant:
    """The assistant that every graph has by itself, without settings."""
    at, made_by = now(), {"created_by": "system"}
    return Assistant(automatic_id(graph_id), graph_id, name, description, {}, {}, made_by, 1, at, at)


def resolve(tx: Tx, assistant_id: str, graph_ids: Sequence[str], scope: Scope = EVERYTHING) -> Assistant:
    """What a run of this assistant or graph uses. Raises Invalid or NotFound (contract/runs.md 18).

    A graph whose automatic assistant was deleted still runs under its name, without settings.
    """
    found = statements.get(tx, id_of(assistant_id, graph_ids), scope)
    if found is None and assistant_id in graph_ids:
        return automatic(assistant_id, assistant_id, None)
    if found is None or found.graph_id not in graph_ids:
        raise missing_assistant(assistant_id)
    return found


def id_of(assistant_id: str, graph_ids: Sequence[str]) -> str:
    """The id behind an id in any form or a graph's name. Raises Invalid."""
    if assistant_id in graph_ids:
        return automatic_id(assistant_id)
    try:
        return str(UUID(assistant_id))
    except ValueError:
        raise Invalid(_choices(assistant_id, graph_ids)) from None


def to_run(assistant_id: str, graph_ids: Sequence[str], scope: Scope) -> Scope:
    """The scope to look for the assistant of a run in: a filter of metadata, which the graphs' own assistants
    cannot pass, does not keep them from running (contract/resources.md 10.2)."""
    automatic_ids = {automatic_id(graph_id) for graph_id in graph_ids}
    return EVERYTHING if id_of(assistant_id, graph_ids) in automatic_ids else scope


def _choices(assistant_id: str, graph_ids: Sequence[str]) -> str:
    names = ", ".join(graph_ids)
    return (
        f"Invalid assistant: '{assistant_id}'. Must be either:\n"
        f"- A valid assistant UUID, or\n- One of the registered graphs: {names}"
    )


def missing_assistant(assistant_id: str) -> NotFound:
    return NotFound(f"Assistant {assistant_id} not found.")
