"""A run that is stopped in its first moment, while its log is being begun in Redis, is over all the same."""

from collections.abc import Callable

import pytest
from fix_cluster import Cluster
from fix_gate import Gate
from fix_server import run_of


@pytest.mark.parametrize(("action", "outcome"), [("interrupt", "interrupted"), ("rollback", "rolled_back")])
def test_a_run_that_is_stopped_while_its_log_begins_has_ended_and_says_so(
    start_cluster: Callable[..., Cluster], gate: Gate, action: str, outcome: str
) -> None:
    cluster = start_cluster()
    server = cluster.apis[0].server
    thread, graph_input = server.new_thread(), gate.input()
    with cluster.to_redis.silent():  # who begins a log waits for an answer
        stream = server.stream("gate", graph_input, thread)
        server.request("POST", f"{run_of(stream)}/cancel?action={action}").body()
    assert stream.rest()[-1].data["outcome"] == outcome
    assert server.get(f"/threads/{thread}")["status"] == "idle"
