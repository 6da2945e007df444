"""Who asks when the server is asked from within: the id of the run whose code, or whose request, this is."""

from contextvars import ContextVar

# Somebody in this process who is no run that we know: a thread that a node started without its context.
UNKNOWN = "?"

# Empty for whoever asks from outside. The executor sets it, so it reaches nodes and tools, also synchronous
# ones, which LangChain runs in a copy of the context; a request that they make carries it on (loopback.py).
asker: ContextVar[str] = ContextVar("graphwire_asker", default="")
