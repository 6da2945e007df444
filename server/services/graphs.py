"""Rules of looking at graphs: drawing, schemas and subgraphs of an assistant's graph."""

from collections.abc import Awaitable, Callable
from typing import Any

from ..graph.catalog import Catalog, Graph
from ..graph.schemas import drawing, schemas, subgraph_schemas
from ..models import Assistant, Caller, Json
from ..streaming.encode import encode
from .assistants import Assistants
from .run_plan import user_keys
from .state import OffLoop, ask

READING = "assistants.read"


class Graphs:
    """Tells what the graphs of assistants look like. Factories are called as for any use, but as readers."""

    def __init__(self, assistants: Assistants, catalog: Catalog, off_loop: OffLoop) -> None:
        self._assistants = assistants
        self._catalog = catalog
        self._off_loop = off_loop
        self._schemas: dict[str, bytes] = {}  # of graphs that no factory makes anew, by graph id

    async def draw(self, caller: Caller, assistant_id: str, xray: bool | int) -> bytes:
        """The drawing as JSON, `xray` levels of subgraphs expanded, True for all (contract/resources.md 3.3).

        Raises Invalid or NotFound for the assistant, NotAGraph or GraphFailed for its graph.
        """

        async def drawn(graph: Graph) -> Json:
            return await drawing(graph, xray)

        assistant = await self._assistants.resolved(caller, assistant_id)
        return await self._ask(caller, assistant, drawn)

    async def schemas(self, caller: Caller, assistant_id: str) -> bytes:
        """The JSON schemas of input, output, state, config and context as JSON. Raises like `draw`.

        Some clients ask before every run, and describing messages takes 30 ms: so they are remembered.
        """

        async def described(graph: Graph) -> Json:
            return {"graph_id": assistant.graph_id, **schemas(graph)}

        assistant = await self._assistants.resolved(caller, assistant_id)
        if (known := self._schemas.get(assistant.graph_id)) is not None:
            return known
        found = await self._ask(caller, assistant, described)
        if self._catalog.is_fixed(assistant.graph_id):
            self._schemas[assistant.graph_id] = found
        return found

    async def subgraphs(
        self, caller: Caller, assistant_id: str, namespace: str | None, *, recurse: bool
    ) -> bytes:
        """`{namespace: schemas}` of the graphs inside, or of the one named, as JSON. Raises like `draw`."""

        async def described(graph: Graph) -> Json:
            return await subgraph_schemas(graph, namespace, recurse)

        assistant = await self._assistants.resolved(caller, assistant_id)
        return await self._ask(caller, assistant, described)

    async def _ask(
        self, caller: Caller, assistant: Assistant, question: Callable[[Graph], Awaitable[Json]]
    ) -> bytes:
        config: Any = {
            **assistant.config,
            "configurable": user_keys(assistant.config.get("configurable", {})),
        }

        async def answer() -> bytes:
            opened = self._catalog.open(
                assistant.graph_id, config, checkpointer=None, access=READING, user=caller.user
            )
            async with opened as graph:
                return encode(await question(graph))

        return await ask(self._off_loop, "show itself", answer())
