"""The rules: authorise, decide, one transaction, return a model."""

from dataclasses import dataclass

from .assistants import Assistants
from .attempts import Attempts
from .runs import Runs
from .state import State
from .threads import Threads

__all__ = ["Assistants", "Attempts", "Runs", "Services", "State", "Threads"]


@dataclass(frozen=True, slots=True)
class Services:
    """What every door may call."""

    assistants: Assistants
    threads: Threads
    state: State
    runs: Runs
