"""A process that has imported the server and forks one for every order it reads (fix_fork.py).

An order is a line of JSON: {"arguments": [...], "env": {...}, "log": path}; the answer is the child's pid.
"""

import gc
import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

from server.__main__ import PRIVATE_NAME, import_privately, main


def serve(order: dict[str, Any]) -> None:
    """In the child: what `graphwire <arguments>` does once Python has loaded it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(order["env"])
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    sys.argv = ["graphwire", *order["arguments"]]
    main()


import_privately()
for module in ("app", "cli", "wiring"):
    import_module(f"{PRIVATE_NAME}.{module}")
gc.collect()
gc.freeze()  # what all of them share is not worth looking through again
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system takes care of the dead
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        serve(json.loads(line))
    print(child, flush=True)
