"""The event loop that everything runs on: uvloop where it exists, else Python's own."""

import asyncio
import importlib.util


def make() -> asyncio.AbstractEventLoop:
    """A loop that runs nothing yet; for any thread."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()
