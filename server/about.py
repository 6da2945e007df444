"""What server this is, for `GET /info` (contract/resources.md 2)."""

import importlib.metadata

from . import __version__
from .models import Json


def about() -> Json:
    """Versions, flags that say which parts are there, and where it runs."""
    return {
        "version": __version__,
        "langgraph_py_version": importlib.metadata.version("langgraph"),
        "flags": {
            "assistants": True,
            "crons": True,
            "langsmith": False,
            "langsmith_tracing_replicas": False,
            "langsmith_tracing_session_on_runs": False,
        },
        "host": {
            "kind": "self-hosted",
            "project_id": None,
            "host_revision_id": None,
            "revision_id": None,
            "tenant_id": None,
        },
    }
