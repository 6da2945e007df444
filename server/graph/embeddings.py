"""`store.index.embed` of langgraph.json -> LangChain embeddings (contract/resources.md 6, 12)."""

import inspect
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings

from ..errors import StoreLoadError
from .loader import Unfit, explained, variable_of


def load_embeddings(embed: str, root: Path) -> Embeddings:
    """A function of texts, synchronous or not, an Embeddings object, or "provider:model" of LangChain.

    File paths count from `root`. Raises StoreLoadError, whose one message says what to do.
    """
    with explained(f'"store.index.embed" of langgraph.json ({embed})', root, StoreLoadError):
        return ensure_embeddings(_usable(variable_of(embed, root)) if is_path(embed) else embed)


def _usable(found: Any) -> Any:
    if inspect.isclass(found):
        raise Unfit(f"it is the class {found.__name__}; name an object of it.")
    if not isinstance(found, Embeddings) and not callable(found):
        raise Unfit(f"it is a {type(found).__name__}; name a function or an Embeddings object.")
    return found


def is_path(embed: str) -> bool:
    """Whether a name leads into the project: no provider's name has a dot or a slash."""
    return any(sign in embed.partition(":")[0] for sign in "./\\")
