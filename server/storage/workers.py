"""Statements about workers, and about duties that one process has at a time.

Times are seconds since 1970 by the clock of the database: those of several machines need not agree.
"""

from typing import Any

from sqlalchemy import bindparam, delete, insert, text, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Float

from .database import Tx
from .tables import duties, workers


class present(FunctionElement[float]):
    """The present, in seconds since 1970."""

    type = Float()
    inherit_cache = True


@compiles(present, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **_: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::float8"


@compiles(present, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


_until = present() + bindparam("seconds", type_=Float)
_this = workers.c.worker_id == bindparam("of_worker")
_join = insert(workers).values(worker_id=bindparam("of_worker"), expires_at=_until)
_beat = update(workers).where(_this).values(expires_at=_until)
_leave = delete(workers).where(_this)
_bury = delete(workers).where(workers.c.expires_at < present())
# PostgreSQL's own limit does not see a client that has stopped between two statements of a pipeline.
_unlock = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'idle in transaction' "
    "AND datname = current_database() AND usename = current_user AND pid != pg_backend_pid() "
    "AND application_name = current_setting('application_name') "
    "AND state_change < clock_timestamp() - make_interval(secs => :seconds)"
)
_duty = duties.c.name == bindparam("of_duty")
_take_over = (
    update(duties)
    .where(_duty, (duties.c.holder == bindparam("by")) | (duties.c.expires_at < present()))
    .values(holder=bindparam("by"), expires_at=_until)
)
_first = text(
    "INSERT INTO duties (name, holder, expires_at) VALUES (:of_duty, :by, 0) ON CONFLICT (name) DO NOTHING"
)
_give_up = delete(duties).where(_duty, duties.c.holder == bindparam("by"))


def join(tx: Tx, worker_id: str, seconds: float) -> None:
    """A worker begins; it is taken to be alive for so long."""
    tx.execute(_join, {"of_worker": worker_id, "seconds": seconds})


def beat(tx: Tx, worker_id: str, seconds: float) -> bool:
    """A worker is alive for so long from now on. False: it was taken for dead, and its runs for orphans."""
    return tx.execute(_beat, {"of_worker": worker_id, "seconds": seconds}).rowcount > 0


def leave(tx: Tx, worker_id: str) -> None:
    """A worker ends in order."""
    tx.execute(_leave, {"of_worker": worker_id})


def bury(tx: Tx) -> int:
    """Forget the workers whose time is over; returns how many."""
    return tx.execute(_bury).rowcount


def unlock(tx: Tx, seconds: float) -> int:
    """End the transactions in which nothing has happened for so long: whoever began them has stopped, and
    others wait for their locks. On PostgreSQL only; returns how many."""
    return int(tx.execute(_unlock, {"seconds": seconds}).scalar_one())


def take_duty(tx: Tx, name: str, holder: str, seconds: float) -> bool:
    """Whether this holder has the duty for so long from now on: it had it, or nobody has it any more."""
    wanted = {"of_duty": name, "by": holder}
    tx.execute(_first, wanted)
    return tx.execute(_take_over, {**wanted, "seconds": seconds}).rowcount > 0


def give_up_duty(tx: Tx, name: str, holder: str) -> None:
    """Let another have the duty at once."""
    tx.execute(_give_up, {"of_duty": name, "by": holder})
