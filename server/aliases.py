"""Modules under the names by which langgraph_sdk looks for its server (contract/clients.md 3.7).

`get_client()` without a URL and `langgraph_sdk.cache` import from a package `langgraph_api`. Within our
server that is this one, also where a package of that name is installed: it must not be run here.
"""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType
from typing import Any

from .cache import Cache, SWRResult
from .loopback import Loopback, LoopbackTransport

PACKAGE = "langgraph_api"


def install(loopback: Loopback) -> None:
    """Take the names. Before graphs are imported: langgraph_sdk looks only once."""

    class ASGITransport(LoopbackTransport):
        """Every client of this process leads to the one app, whatever it was given."""

        def __init__(self, app: object = None, root_path: str = "", **_: object) -> None:
            super().__init__(loopback, root_path)

    for known in [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]:
        del sys.modules[known]
    cache = Cache()
    package = _module(PACKAGE)
    package.__path__ = []  # there are no others
    _module("server", package, app=loopback)
    _module("asgi_transport", package, ASGITransport=ASGITransport)
    _module("cache", package, cache_get=cache.get, cache_set=cache.set, swr=cache.swr, SWRResult=SWRResult)


def _module(name: str, package: ModuleType | None = None, **attributes: Any) -> ModuleType:
    full_name = f"{package.__name__}.{name}" if package else name
    module = module_from_spec(ModuleSpec(full_name, None, is_package=package is None))
    vars(module).update(attributes)
    if package is not None:
        setattr(package, name, module)
    sys.modules[full_name] = module
    return module
