"""Rules of assistants: which graph with which settings a name or an id stands for."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from ..clock import now
from ..errors import Invalid, NotFound
from ..models import Assistant
from ..storage import assistants as statements
from ..storage.database import Database, Tx

# The namespace of the automatic assistants (contract/resources.md 3.1): one digit away from RFC 9562's.
_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")


def automatic_id(graph_id: str) -> str:
    """The id of the assistant that every graph has by itself; clients compute it too."""
    return str(uuid5(_NAMESPACE, graph_id))


def resolve(tx: Tx, assistant_id: str, graph_ids: Sequence[str]) -> Assistant:
    """The assistant of an id or of a graph's name. Raises Invalid or NotFound (contract/runs.md 18)."""
    if assistant_id in graph_ids:
        wanted = automatic_id(assistant_id)
    else:
        try:
            wanted = str(UUID(assistant_id))
        except ValueError:
            raise Invalid(_choices(assistant_id, graph_ids)) from None
    found = statements.get(tx, wanted)
    if found is None or found.graph_id not in graph_ids:
        raise NotFound(f"Assistant {assistant_id} not found.")
    return found


def _choices(assistant_id: str, graph_ids: Sequence[str]) -> str:
    names = ", ".join(graph_ids)
    return (
        f"Invalid assistant: '{assistant_id}'. Must be either:\n"
        f"- A valid assistant UUID, or\n- One of the registered graphs: {names}"
    )


class Assistants:
    """The assistants of this server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_automatic(self, graphs: Sequence[tuple[str, str, str | None]]) -> None:
        """At start: one assistant a graph, (graph id, name, description), left alone where it exists."""
        at = now()
        found = [
            Assistant(
                automatic_id(graph_id),
                graph_id,
                name,
                description,
                {},
                {},
                {"created_by": "system"},
                1,
                at,
                at,
            )
            for graph_id, name, description in graphs
        ]
        await self._database.write(lambda tx: statements.add_missing(tx, found))
