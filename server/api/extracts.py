"""Where in a thread something stands that a search extracts: `values.messages[-1].content`."""

import re

from ..rules.threads import Extract

DOCUMENTS = ("config", "interrupts", "metadata", "values")
LENGTH_MAX = 1_000
_FIRST = re.compile(r"[^.\[]*")
_STEP = re.compile(r"\.+([^.\[\]]*)|\[(-?[0-9]{1,9})\]")


def parse(path: str) -> Extract:
    """The place that a path names. Raises ValueError unless it begins with a document of threads.

    What leads nowhere, such as `[*]` and `['key']`, is no error: nothing stands there (contract/resources.md
    4.2). Nor are dots too many.
    """
    if len(path) > LENGTH_MAX:
        raise ValueError(f"must be at most {LENGTH_MAX} characters")
    first = _FIRST.match(path)
    document = first[0] if first else ""
    if document not in DOCUMENTS:
        raise ValueError(f"must begin with one of {', '.join(DOCUMENTS)}")
    steps: list[str | int] = []
    at = len(document)
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return Extract(document, None)
        at = step.end()
        if step[2] is not None:
            steps.append(int(step[2]))
        elif step[1]:
            steps.append(step[1])
    return Extract(document, tuple(steps))
