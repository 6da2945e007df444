"""Tokens a second when the graphs emit as fast as they can, from the first request to the last token."""

import asyncio
import time

from ..api import Api
from ..client import Tokens
from ..lineup import Lineup, figures, interleave
from ..processes import Subject
from ..report import Row, Target

TOKENS = {1: 6000, 10: 1000, 100: 100}  # streams: tokens of each
TARGETS = {10: Target(0.7, to="bare", at_least=True)}


class TokensLost(Exception):
    """A stream ended cleanly without every token, once and in order."""


async def measure(lineup: Lineup) -> list[Row]:
    return [await _measure(lineup, streams, tokens) for streams, tokens in TOKENS.items()]


async def _measure(lineup: Lineup, streams: int, tokens: int) -> Row:
    async def server(subject: Subject) -> float:
        return await firehose(subject, streams, tokens)

    async def floor() -> float:
        return float(await lineup.floor.measure("firehose", streams=streams, tokens=tokens))

    rates = await interleave(lineup.measures(server, floor), 1 if lineup.quick else 3)
    return Row(f"firehose, {streams} streams", "tokens/s", figures(rates), target=TARGETS.get(streams))


async def firehose(subject: Subject, streams: int, tokens: int) -> float:
    threads = await subject.api.threads(streams)
    begun = time.monotonic()
    seen = await asyncio.gather(*(_stream(subject.api, thread_id, tokens) for thread_id in threads))
    seconds = time.monotonic() - begun
    if missing := sum(each.missing(tokens) for each in seen):
        raise TokensLost(f"{missing} of {streams * tokens} tokens with {streams} streams")
    return streams * tokens / seconds


async def _stream(api: Api, thread_id: str, tokens: int) -> Tokens:
    seen = Tokens()
    async with api.connection() as connection:
        await api.stream(connection, thread_id, "stream", seen, n=tokens)
    return seen
