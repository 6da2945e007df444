"""The rules: authorise, decide, one transaction, return a model."""

from dataclasses import dataclass

from .answers import Answers
from .assistants import Assistants
from .attempts import Attempts
from .crons import Crons
from .deliveries import Deliveries
from .graphs import Graphs
from .readers import Readers
from .removal import Removal
from .retention import Retention
from .runs import Runs
from .state import State
from .state_update import StateUpdates
from .store import Store
from .thread_copy import ThreadCopies
from .thread_search import ThreadSearch
from .threads import Threads

__all__ = [
    "Answers",
    "Assistants",
    "Attempts",
    "Crons",
    "Deliveries",
    "Graphs",
    "Readers",
    "Removal",
    "Retention",
    "Runs",
    "Services",
    "State",
    "StateUpdates",
    "Store",
    "ThreadCopies",
    "ThreadSearch",
    "Threads",
]


@dataclass(frozen=True, slots=True)
class Services:
    """What every door may call."""

    assistants: Assistants
    graphs: Graphs
    threads: Threads
    state: State
    runs: Runs
    answers: Answers
    crons: Crons
    readers: Readers
    deliveries: Deliveries
    removal: Removal
    state_updates: StateUpdates
    store: Store
    thread_search: ThreadSearch
    thread_copies: ThreadCopies
    retention: Retention
