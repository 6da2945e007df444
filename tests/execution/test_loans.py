"""How many slots are lent: one for each run that waits, and never more than there are runs."""

from contextlib import ExitStack

import pytest

from server.asker import UNKNOWN
from server.errors import Overloaded
from server.execution.loans import Loans


def waiting(loans: Loans, *run_ids: str) -> ExitStack:
    stack = ExitStack()
    for run_id in run_ids:
        stack.enter_context(loans.lend(run_id))
    return stack


def test_a_run_lends_its_slot_once_however_many_answers_it_waits_for() -> None:
    loans = Loans()
    with waiting(loans, "a", "a"):
        assert loans.count(["a", "b"]) == 1


def test_the_slot_is_the_runs_again_after_the_last_answer() -> None:
    loans = Loans()
    with waiting(loans, "a"):
        with waiting(loans, "a"):
            pass
        assert loans.count(["a"]) == 1
    assert loans.count(["a"]) == 0


def test_a_run_that_is_over_has_no_slot_to_lend() -> None:
    loans = Loans()
    with waiting(loans, "a"):
        assert loans.count(["b"]) == 0


def test_a_run_that_is_about_to_wait_counts_once() -> None:
    loans = Loans()
    assert loans.count(["a"], "a") == 1
    with waiting(loans, "a"):
        assert loans.count(["a"], "a") == 1


def test_strangers_lend_no_more_slots_than_there_are_runs() -> None:
    loans = Loans()
    with waiting(loans, "a", UNKNOWN, UNKNOWN, UNKNOWN):
        assert loans.count(["a", "b", "c"]) == 3
        assert loans.count([]) == 0


def test_runs_that_wait_without_end_start_no_more() -> None:
    loans = Loans(waiting_max=2)
    with waiting(loans, "a", "a"):
        loans.check()
        with waiting(loans, "b"), pytest.raises(Overloaded, match="2 runs are waiting"):
            loans.check()
    loans.check()
