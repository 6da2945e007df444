"""Packed entries are what a plain list of them would be, whatever was sealed and forgotten meanwhile."""

import os
import random

import pytest

from server.streaming.broker import Entry
from server.streaming.packed import ENTRY_OVERHEAD, KINDS_MAX, PAGE_BYTES, Packed


def some(chance: random.Random) -> Entry:
    """An entry like those of a run: few names, tails that recur, sizes from nothing to more than a page."""
    event = chance.choice(["values", "messages", "custom|ä:1", "updates|a|b", ""])
    shared = chance.choice([b"", b"", b',{"run_id":1}]', "☃".encode() * 20, b"%d" % chance.randrange(30)])
    size = chance.choice([0, 1, 20, 300, 300, 5_000, chance.randrange(2 * PAGE_BYTES)])
    return Entry(event, chance.randbytes(size), shared)


@pytest.mark.parametrize("seed", range(12))
def test_packed_entries_are_those_of_a_plain_list(seed: int) -> None:
    chance = random.Random(seed)
    packed, plain = Packed(), []
    for _ in range(300):
        step = chance.random()
        if step < 0.9:
            plain.append(some(chance))
            packed.add(plain[-1])
        elif step < 0.96:
            packed.seal()
        else:
            packed.forget()
        assert packed.base + len(packed) == len(plain)
        start = chance.randint(packed.base, len(plain))
        assert list(packed.entries(start)) == plain[start:]
    assert list(packed.entries(packed.base)) == plain[packed.base :]


@pytest.mark.parametrize("seed", range(12))
def test_the_bytes_that_are_told_add_up(seed: int) -> None:
    """What adding, sealing and forgetting say they changed is what is there."""
    chance = random.Random(seed)
    packed, size = Packed(), 0
    for _ in range(300):
        step = chance.random()
        if step < 0.9:
            size += packed.add(some(chance))
        elif step < 0.96:
            size -= packed.seal()
        else:
            size -= packed.forget()
    size -= packed.seal()
    while freed := packed.forget():
        size -= freed
    assert (len(packed), size) == (0, 0)


def test_an_empty_log_has_no_entries() -> None:
    assert list(Packed().entries(0)) == []


def test_sealing_an_empty_page_harms_nothing() -> None:
    packed = Packed()
    for _ in range(3):
        packed.seal()
    packed.add(Entry("a", b"1"))
    assert list(packed.entries(0)) == [Entry("a", b"1")]


def test_nothing_is_forgotten_that_was_not_sealed() -> None:
    packed = Packed()
    packed.add(Entry("a", b"1"))
    assert packed.forget() == 0
    assert (packed.base, len(packed)) == (0, 1)


def test_forgetting_takes_whole_pages_from_the_front() -> None:
    packed = Packed()
    for page in range(3):
        for index in range(4):
            packed.add(Entry("a", b"%d" % (10 * page + index)))
        packed.seal()
    packed.forget()
    assert packed.base == 4
    assert [int(entry.data) for entry in packed.entries(4)] == [10, 11, 12, 13, 20, 21, 22, 23]


def test_a_page_is_full_when_its_bytes_are() -> None:
    packed = Packed()
    packed.add(Entry("a", b"x" * (PAGE_BYTES - 2)))  # and one of the name
    assert not packed.full
    packed.add(Entry("a", b"x"))
    assert packed.full
    packed.seal()
    assert not packed.full


def test_a_page_is_full_when_it_has_no_numbers_left_for_kinds() -> None:
    packed = Packed()
    entries = [Entry("messages", b"", b"%d" % index) for index in range(KINDS_MAX)]
    for entry in entries:
        packed.add(entry)
    assert packed.full
    packed.seal()
    packed.add(Entry("messages", b"", b"the next"))
    assert list(packed.entries(0)) == [*entries, Entry("messages", b"", b"the next")]


def test_tokens_shrink_to_a_fraction_when_sealed() -> None:
    packed, size = Packed(), 0
    for index in range(200):
        token = b'{"content":"w%d","type":"AIMessageChunk","id":"run-1","tool_calls":[]}' % index
        size += packed.add(Entry("messages", token, b"," + b"m" * 700 + b"]"))
    assert packed.seal() > 0.7 * (size - 200 * ENTRY_OVERHEAD)


def test_what_cannot_be_compressed_comes_back_whole() -> None:
    packed, entry = Packed(), Entry("values", os.urandom(1_000_000))
    packed.add(entry)
    packed.seal()
    assert list(packed.entries(0)) == [entry]


def test_an_event_name_may_be_any_text() -> None:
    packed = Packed()
    packed.add(Entry("values|\ud800:1", b"1"))
    packed.seal()
    assert list(packed.entries(0)) == [Entry("values|\N{REPLACEMENT CHARACTER}:1", b"1")]
