"""Protocol v2 as a user of the JavaScript SDK meets it: `client.threads.stream`."""

import json

from fix_server import Server

from .test_js_sdk import node


def test_it_chats_calls_tools_and_answers(server: Server) -> None:
    with node("threads.mjs", server.url) as process:
        told = json.loads(process.communicate(timeout=60)[0])
    assert told == {
        "chat": ["Hello you", "canned reply"],
        "duet": ["all at once", "l1l2l3l4", "r1r2r3r4", "same words", "same words"],
        "tools": {"call_1": ["research", {"q": "ice"}, "inner answer"]},
        "intr": [{"question": "ok?", "x": "1"}, ["start:st", "ask:yes", "finish"]],
    }
