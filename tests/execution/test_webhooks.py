"""The sender, on a real outbox and with real receivers: signed, again when it fails, fair, and never lost."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from fix_receiver import Hook, Receiver, Receivers

from server.clock import now
from server.config.webhooks import signing_keys
from server.execution import webhooks
from server.execution.egress import Deadlines, Egress
from server.execution.webhooks import Sending, Webhooks, signature, wait_after
from server.models import Caller, Delivery, Outcome, Run, RunStatus, ThreadStatus, WebhookRules
from server.services.addresses import SystemResolver
from server.services.deliveries import Deliveries, Outbox, enqueue
from server.services.webhook_policy import WebhookPolicy
from server.storage.database import SqliteDatabase, Tx
from server.storage.migrate import migrate
from server.streaming.signals import LocalSignals

AT = "2026-01-01T00:00:00.000000+00:00"
RUN = Run("r", "t", "a", "g", RunStatus.running, {}, {}, "enqueue", AT, AT, AT, 1)
DONE = Outcome(RunStatus.success, ThreadStatus.idle, b'{"x":1}')
HERE = WebhookRules(networks=(ip_network("127.0.0.0/8"),))
KEY = b"0123456789abcdef0123456789abcdef"
WAIT_SECONDS = 30.0


class Noting(Outbox):
    """An outbox that tells the test when something was noted; its disk may be full for a while."""

    def __init__(
        self, database: SqliteDatabase, noted: asyncio.Event, reads: int = 0, writes: int = 0
    ) -> None:
        super().__init__(database)
        self._noted, self._bad_reads, self._bad_writes = noted, reads, writes

    async def due(self, *arguments: Any) -> Any:
        if self._bad_reads > 0:
            self._bad_reads -= 1
            raise OSError("no space left")
        return await super().due(*arguments)

    async def record(self, *arguments: Any, **fields: Any) -> None:
        if self._bad_writes > 0:
            self._bad_writes -= 1
            raise OSError("no space left")
        await super().record(*arguments, **fields)
        self._noted.set()


class Post:
    """An outbox, and senders that empty it."""

    def __init__(self, path: Path) -> None:
        self.database = SqliteDatabase(path)
        migrate(self.database)
        self.signals = LocalSignals()
        self.noted = asyncio.Event()
        self.outbox = Noting(self.database, self.noted)
        self._tasks: list[asyncio.Task[None]] = []

    def sender(self, **fields: Any) -> Webhooks:
        rules, seconds = fields.pop("rules", HERE), fields.pop("total_seconds", 10.0)
        outbox = fields.pop("outbox", self.outbox)
        sending = Sending(**{"wait_seconds": 0.001, "keys": (KEY,), **fields})
        egress = Egress(WebhookPolicy(rules, SystemResolver()), Deadlines(total_seconds=seconds))
        return Webhooks(outbox, egress, self.signals, sending)

    def start(self, **fields: Any) -> asyncio.Task[None]:
        self._tasks.append(asyncio.create_task(self.sender(**fields).work()))
        return self._tasks[-1]

    async def put(self, url: str, run_id: str = "r") -> None:
        run = replace(RUN, run_id=run_id, kwargs={"webhook": url})
        await self.database.write(lambda tx: enqueue(tx, run, DONE, now()))
        self.signals.notify("webhooks")

    async def log(self, run_id: str = "r") -> Delivery:
        (found,) = await Deliveries(self.database).of_run(Caller(), "t", run_id)
        return found

    async def until(self, true: Callable[[Delivery], bool], run_id: str = "r") -> Delivery:
        """The delivery as soon as it is so."""
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                self.noted.clear()
                if true(found := await self.log(run_id)):
                    return found
                await self.noted.wait()

    async def over(self, run_id: str = "r") -> Delivery:
        return await self.until(lambda delivery: delivery.status != "pending", run_id)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.database.close()


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    made = Post(tmp_path / "graphwire.db")
    yield made
    await made.close()


async def came(receiver: Receiver) -> Hook:
    return await asyncio.to_thread(receiver.next)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# ------------------------------------------------------------------------------------- what is sent


async def test_what_is_put_into_the_outbox_is_sent_and_noted(post: Post, receiver: Receivers) -> None:
    there = receiver(204)
    post.start()
    await post.put(there.url)
    hook, delivery = await came(there), await post.over()
    assert (hook.method, hook.target, hook.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert hook.json["values"] == {"x": 1}
    assert delivery.status == "delivered"
    (tried,) = delivery.tries
    assert (tried["status"], tried["error"], tried["at"]) == (204, None, hook.json["webhook_sent_at"])


async def test_it_is_signed_as_standard_webhooks_are(post: Post, receiver: Receivers) -> None:
    there = receiver()
    post.start()
    await post.put(there.url)
    hook = await came(there)
    assert hook.signed_by(KEY)
    assert not hook.signed_by(b"another key of the same length..")
    sent_at = datetime.fromisoformat(hook.json["webhook_sent_at"]).timestamp()
    assert abs(int(hook.headers["webhook-timestamp"]) - sent_at) < 2
    assert hook.headers["webhook-id"] == (await post.over()).delivery_id


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector of the specification's own libraries."""
    (key,) = signing_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_while_a_secret_is_replaced_both_sign(post: Post, receiver: Receivers) -> None:
    there, old = receiver(), b"the secret that was used before."
    post.start(keys=(KEY, old))
    await post.put(there.url)
    hook = await came(there)
    assert hook.signed_by(KEY)
    assert hook.signed_by(old)


async def test_without_a_secret_nothing_is_signed(post: Post, receiver: Receivers) -> None:
    there = receiver()
    post.start(keys=())
    await post.put(there.url)
    hook = await came(there)
    assert "webhook-signature" not in hook.headers
    assert hook.headers["webhook-id"]


async def test_headers_of_the_configuration_are_sent(post: Post, receiver: Receivers) -> None:
    there = receiver()
    post.start(headers={"x-tenant": "7", "user-agent": "ours"})
    await post.put(there.url)
    hook = await came(there)
    assert (hook.headers["x-tenant"], hook.headers["user-agent"]) == ("7", "ours")


# ------------------------------------------------------------------------------------- again


async def test_what_fails_is_sent_again_under_its_id_with_a_time_and_signature_of_its_own(
    post: Post, receiver: Receivers
) -> None:
    there = receiver(500, 503, 200)
    post.start()
    await post.put(there.url)
    hooks = [await came(there) for _ in range(3)]
    delivery = await post.over()
    assert {hook.headers["webhook-id"] for hook in hooks} == {delivery.delivery_id}
    assert len({hook.json["webhook_sent_at"] for hook in hooks}) == 3
    assert all(hook.signed_by(KEY) for hook in hooks)
    assert [tried["status"] for tried in delivery.tries] == [500, 503, 200]
    assert delivery.status == "delivered"


async def test_nobody_there_counts_as_a_try_and_says_so(post: Post) -> None:
    post.start(tries_max=3)
    await post.put(f"http://127.0.0.1:{closed_port()}/")
    delivery = await post.over()
    assert delivery.status == "failed"
    assert [tried["status"] for tried in delivery.tries] == [None] * 3
    assert all(tried["error"].startswith("ConnectError") for tried in delivery.tries)


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
async def test_every_answer_but_a_success_is_a_failure(post: Post, receiver: Receivers, status: int) -> None:
    there = receiver(status, status)
    post.start(tries_max=2)
    await post.put(there.url)
    assert (await post.over()).status == "failed"
    assert there.connections == 2


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(post: Post, receiver: Receivers) -> None:
    there = receiver(410)
    post.start()
    await post.put(there.url)
    delivery = await post.over()
    assert (delivery.status, len(delivery.tries)) == ("failed", 1)


async def test_a_place_that_is_forbidden_by_now_is_not_called(post: Post, receiver: Receivers) -> None:
    there = receiver()
    post.start(rules=WebhookRules(), tries_max=2)
    await post.put(there.url)
    delivery = await post.over()
    assert [tried["error"] for tried in delivery.tries] == ["Webhook host blocked: loopback IP range"] * 2
    assert there.connections == 0


def test_waits_grow_from_a_second_to_five_minutes_and_are_spread() -> None:
    for tries, least in enumerate((1, 6, 36, 216, 240, 240), 1):
        waits = {wait_after(tries, 1.0) for _ in range(200)}
        assert least <= min(waits) < max(waits) <= least * 1.25 <= 300
        assert max(waits) - min(waits) > least * 0.1
    assert wait_after(10**9, 1.0) <= 300


async def test_the_next_try_waits_for_its_time(post: Post, receiver: Receivers) -> None:
    there = receiver(500)
    post.start(wait_seconds=100)
    await post.put(there.url)
    await came(there)
    delivery = await post.until(lambda found: len(found.tries) == 1)
    left = datetime.fromisoformat(delivery.due_at) - datetime.fromisoformat(delivery.updated_at)
    assert 99 <= left.total_seconds() <= 126
    assert there.connections == 1


# ------------------------------------------------------------------------------------- many


async def test_a_receiver_that_does_not_answer_holds_up_only_its_own(post: Post, receiver: Receivers) -> None:
    slow, fast = receiver(*["hold"] * 20), receiver()
    post.start(at_once=4)
    for index in range(20):
        await post.put(slow.url, f"slow {index}")
    for index in range(20):
        await post.put(fast.url, f"fast {index}")
    for index in range(20):
        assert (await post.over(f"fast {index}")).status == "delivered"
    assert slow.connections == 1  # a quarter of the places
    (await came(slow)).answer(200)
    (await came(slow)).answer(200)


async def test_no_more_than_that_many_are_sent_at_once(post: Post, receiver: Receivers) -> None:
    all_of_them = [receiver("hold", "hold") for _ in range(5)]
    post.start(at_once=3)
    for index, there in enumerate(all_of_them):
        await post.put(there.url, str(index))
    held = [await came(all_of_them[index]) for index in range(3)]
    assert [there.connections for there in all_of_them] == [1, 1, 1, 0, 0]
    held[0].answer(200)
    await came(all_of_them[3])
    assert all_of_them[4].connections == 0


async def test_a_hundred_arrive_once_each(post: Post, receiver: Receivers) -> None:
    there = receiver()
    post.start()
    for index in range(100):
        await post.put(there.url, str(index))
    ids = {(await came(there)).headers["webhook-id"] for _ in range(100)}
    for index in range(100):
        assert len((await post.over(str(index))).tries) == 1
    assert (len(ids), there.connections) == (100, 100)


# ------------------------------------------------------------------------------------- never lost


async def test_what_was_under_way_when_the_sender_stopped_is_sent_by_the_next(
    post: Post, receiver: Receivers
) -> None:
    there = receiver("hold")
    first = post.start(last_seconds=0.0)
    await post.put(there.url)
    lost = await came(there)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    post.start()
    again = await came(there)
    assert again.headers["webhook-id"] == lost.headers["webhook-id"]
    assert (await post.over()).status == "delivered"


async def test_what_is_under_way_when_the_server_stops_gets_a_moment(post: Post, receiver: Receivers) -> None:
    there = receiver("hold")
    sending = post.start(last_seconds=WAIT_SECONDS)
    await post.put(there.url)
    hook = await came(there)
    sending.cancel()
    hook.answer(200)
    await asyncio.gather(sending, return_exceptions=True)
    assert (await post.log()).status == "delivered"


async def test_a_database_in_trouble_does_not_end_the_sender(
    post: Post, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.01)
    there = receiver()
    await post.put(there.url)
    post.start(outbox=Noting(post.database, post.noted, reads=2))
    assert (await post.over()).status == "delivered"


async def test_what_was_sent_but_could_not_be_noted_is_not_sent_again(
    post: Post, receiver: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 0.01)
    there = receiver()
    post.start(outbox=Noting(post.database, post.noted, writes=3))
    await post.put(there.url)
    assert (await post.over()).status == "delivered"
    assert there.connections == 1


async def test_a_body_that_breaks_the_rules_of_http_is_one_try_and_no_end(
    post: Post, receiver: Receivers
) -> None:
    """A header that httpx refuses: whatever goes wrong inside, the sender goes on with the others."""
    there = receiver()
    post.start(headers={"x-bad": "a\nb"}, tries_max=1)
    await post.put(there.url)
    assert (await post.over()).status == "failed"


async def test_the_row_of_a_delivery_that_vanished_while_it_was_sent_harms_nothing(
    post: Post, receiver: Receivers
) -> None:
    there, other = receiver("hold"), receiver()
    post.start()
    await post.put(there.url)
    hook = await came(there)

    def vanish(tx: Tx) -> None:
        tx.exec_driver_sql("DELETE FROM deliveries")

    await post.database.write(vanish)
    hook.answer(200)
    await post.put(other.url, "other")
    assert (await post.over("other")).status == "delivered"
