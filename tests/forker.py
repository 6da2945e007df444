"""A process that has imported the server and forks one for every order it reads (fix_fork.py).

An order is a line of JSON: {"arguments": [...], "env": {...}, "log": path}, answered by the child's pid; or
{"ended": pid} of a child that has ended, answered by its exit status.
"""

import ctypes
import gc
import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

from server.__main__ import PRIVATE_NAME, import_privately, main

PR_SET_PDEATHSIG = 1  # prctl.h


def serve(order: dict[str, Any]) -> None:
    """In the child: what `graphwire <arguments>` does once Python has loaded it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whatever becomes of the tests, it ends
    os.environ.clear()
    os.environ.update({"PYTHONMALLOC": "malloc", **order["env"]})
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
for line in sys.stdin:
    order = json.loads(line)
    if "ended" in order:
        answer = os.waitstatus_to_exitcode(os.waitpid(order["ended"], 0)[1])
    elif (answer := os.fork()) == 0:
        serve(order)
    print(answer, flush=True)
