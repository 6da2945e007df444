"""`python -m server` and the command `graphwire`: run the CLI under a private name.

The project being served may own a module called `server`. Two modules cannot share a name in one process,
and the user's must win: graphs import theirs by name, while our imports are all relative and work under any.
So the package is imported again as `_graphwire`, the name `server` is given up, and everything that runs
afterwards lives in `_graphwire`. (From a directory that holds its own `server`, Python finds that one before
`python -m server` finds ours: there, only the command works.)
"""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PRIVATE_NAME = "_graphwire"


def main() -> None:
    """Run the command line; ends the process like any click command."""
    import_privately()
    if {"serve", "dev"}.intersection(sys.argv[1:2]):
        importlib.import_module(f"{PRIVATE_NAME}.heap").use_returning_allocator()
    importlib.import_module(f"{PRIVATE_NAME}.cli").main()


def import_privately() -> ModuleType:
    """Import this package as `_graphwire` and free the name it was found under; twice is once."""
    if PRIVATE_NAME in sys.modules:
        return sys.modules[PRIVATE_NAME]
    here = Path(__file__).resolve().parent
    spec = spec_from_file_location(PRIVATE_NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {here} as {PRIVATE_NAME}")
    package = module_from_spec(spec)
    sys.modules[PRIVATE_NAME] = package
    spec.loader.exec_module(package)
    _free("server")
    return package


def _free(name: str) -> None:
    """Forget a package and all below it, so that the next import looks for it anew."""
    for known in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[known]


if __name__ == "__main__":
    main()
