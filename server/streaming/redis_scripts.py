"""What is asked of Redis, each in one script: nobody sees a half of it. For Redis and Valkey from 7.0 on.

The log of a run is a stream whose ids are those of the wire, `<epoch>-<offset>`, and beside it a hash, its
head: epoch, next offset, attempt, writer, thread, closed. A thread has a sorted set, its logs by their
epochs, and a hash of places: where each closed log ended, up to where all is gone, where it began anew.
Everything has a TTL, which the writer renews; only the clock (the last epoch, the first day) stays.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1

READY_SECONDS = 3600  # for how long a process takes what is offered, if it does not say so again
PLACES_SECONDS = 3600  # for how long it is known of a quiet thread what of it is gone

Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True)
class Script:
    """A script; called with keys and arguments it is a command."""

    text: str

    @cached_property
    def sha(self) -> str:
        return sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: list[str], *arguments: str | bytes | int) -> Command:
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)


@dataclass(frozen=True, slots=True)
class Keys:
    """The names of keys: two projects may share one Redis."""

    namespace: str

    @property
    def clock(self) -> str:
        return f"{self.namespace}:clock"

    @property
    def signals(self) -> str:
        return f"{self.namespace}:signals"

    def signals_to(self, process: str) -> str:
        """The channel that one process hears."""
        return f"{self.namespace}:signals:{process}"

    def ready(self, name: str) -> str:
        """A sorted set: the processes that take what is offered, by how much each has."""
        return f"{self.namespace}:ready:{name}"

    def log(self, key: str) -> list[str]:
        """The stream and its head."""
        return [f"{self.namespace}:log:{key}", self.head(key)]

    def head(self, key: str) -> str:
        return f"{self.namespace}:head:{key}"

    def thread(self, thread_id: str) -> list[str]:
        """The logs of a thread, which is also the channel of hints about it, and its places."""
        return [f"{self.namespace}:thread:{thread_id}", f"{self.namespace}:places:{thread_id}"]


_COMMON = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function text(number) return string.format('%.0f', number) end

-- The first logs of a thread that are gone are taken out, up to the first that is there.
local function prune(prefix, thread, places)
  local logs = redis.call('ZRANGE', thread, 0, 999, 'WITHSCORES')
  for at = 1, #logs, 2 do
    if redis.call('EXISTS', prefix .. ':head:' .. logs[at]) == 1 then return end
    local epoch = text(tonumber(logs[at + 1]))
    local ended = redis.call('HGET', places, epoch) or '9007199254740991'
    redis.call('ZREM', thread, logs[at])
    redis.call('HDEL', places, epoch)
    redis.call('HSET', places, 'forgotten', epoch .. '-' .. ended)
  end
end

-- Of a thread of which nothing is known: what is older than this may be gone.
local function unknown(clock, places_ms)
  local born = redis.call('HGET', clock, 'born')
  if not born then
    born = text(now() - 1)
    redis.call('HSET', clock, 'born', born)
  end
  return text(math.max(tonumber(born), now() - tonumber(places_ms))) .. '-0'
end
"""

# KEYS: stream, head, thread, places, clock
# ARGV: prefix, key, thread id, attempt, writer, epoch ('0': any), forgotten ('': not known),
#       ms while it is open, ms that places are kept
# Answers fenced, or ok with epoch, next offset, closed, forgotten.
BEGIN = Script(
    _COMMON
    + """
local head = redis.call('HMGET', KEYS[2], 'epoch', 'next', 'attempt', 'writer', 'closed')
local attempt, wanted = tonumber(ARGV[4]), ARGV[6]
if head[1] then
  local other = tonumber(head[3])
  if other > attempt or (wanted ~= '0' and other == attempt and head[4] ~= ARGV[5]) then return {'fenced'} end
  if wanted ~= '0' and wanted ~= head[1] then
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('ZREM', KEYS[3], ARGV[2])
    redis.call('HDEL', KEYS[4], head[1])
    head = {}
  end
end
if not head[1] then
  prune(ARGV[1], KEYS[3], KEYS[4])
  local first = unknown(KEYS[5], ARGV[9])
  local last = tonumber(redis.call('HGET', KEYS[5], 'epoch') or '0')
  if wanted == '0' then wanted = text(math.max(last + 1, now())) end
  redis.call('HSET', KEYS[5], 'epoch', text(math.max(last, tonumber(wanted))))
  redis.call('HSET', KEYS[2], 'epoch', wanted, 'next', 0, 'thread', ARGV[3])
  redis.call('ZADD', KEYS[3], wanted, ARGV[2])
  redis.call('HSETNX', KEYS[4], 'forgotten', ARGV[7] ~= '' and ARGV[7] or first)
  head = {wanted, '0'}
end
redis.call('HSET', KEYS[2], 'attempt', ARGV[4], 'writer', ARGV[5])
for _, key in ipairs(KEYS) do
  if key ~= KEYS[5] then redis.call('PEXPIRE', key, ARGV[8]) end
end
redis.call('PUBLISH', KEYS[3], ARGV[2])
return {'ok', head[1], head[2], head[5] or '', redis.call('HGET', KEYS[4], 'forgotten')}
"""
)

# KEYS: stream, head, thread, places
# ARGV: prefix, key, writer, epoch, first offset, '1' if those before it are gone, '1' to renew the TTL,
#       first offset to keep ('': all), '' or 'end' or 'gone' if it closes,
#       ms while it is open, ms after its end, ms that places are kept,
#       then of each entry: how many strings follow, and they
# Answers ok, at with the offset that is really next, or unknown: begin again.
APPEND = Script(
    """
local head = redis.call('HMGET', KEYS[2], 'epoch', 'next', 'writer')
local epoch = ARGV[4]
if head[1] ~= epoch or head[3] ~= ARGV[3] then return {'unknown'} end
local at, first = tonumber(head[2]), tonumber(ARGV[5])
if at ~= first and not (at < first and ARGV[6] == '1') then return {'at', at} end
local place, entries = 13, 0
while place <= #ARGV do
  local count = tonumber(ARGV[place])
  redis.call('XADD', KEYS[1], epoch .. '-' .. string.format('%.0f', first + entries),
    unpack(ARGV, place + 1, place + count))
  place, entries = place + 1 + count, entries + 1
end
redis.call('HSET', KEYS[2], 'next', first + entries)
if ARGV[7] == '1' or at == 0 then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[10]) end
end
if ARGV[8] ~= '' then redis.call('XTRIM', KEYS[1], 'MINID', epoch .. '-' .. ARGV[8]) end
if ARGV[9] ~= '' then
  local last = string.format('%.0f', first + entries - 1)
  redis.call('HSET', KEYS[2], 'closed', 1)
  redis.call('HSET', KEYS[4], epoch, last)
  if ARGV[9] == 'gone' then redis.call('HSET', KEYS[4], 'renewed', epoch .. '-' .. last) end
  -- A log that ended before one that began earlier is kept until that one has ended: it is told of after it.
  local logs, open = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'), false
  for at = 1, #logs, 2 do
    local key = ARGV[1] .. ':head:' .. logs[at]
    if redis.call('HEXISTS', KEYS[4], string.format('%.0f', tonumber(logs[at + 1]))) == 1 then
      redis.call('PEXPIRE', key, ARGV[11], 'LT')
      redis.call('PEXPIRE', ARGV[1] .. ':log:' .. logs[at], ARGV[11], 'LT')
    elseif redis.call('EXISTS', key) == 1 then
      open = true
      break
    end
  end
  if not open then
    redis.call('PEXPIRE', KEYS[3], ARGV[12])
    redis.call('PEXPIRE', KEYS[4], ARGV[12])
  end
end
if entries > 0 or ARGV[9] ~= '' then redis.call('PUBLISH', KEYS[3], ARGV[2]) end
return {'ok'}
"""
)

# KEYS: stream, head.  ARGV: epoch, offset from which on, entries at most, bytes at most
# Answers nothing if there is no such log; else epoch, next offset, closed, entries.
FETCH = Script(
    """
local head = redis.call('HMGET', KEYS[2], 'epoch', 'next', 'closed')
if not head[1] then return {} end
local start = head[1] .. '-' .. (head[1] == ARGV[1] and ARGV[2] or '0')
local found, size = {}, 0
repeat
  local part = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 16)
  for _, entry in ipairs(part) do
    found[#found + 1] = entry
    for _, field in ipairs(entry[2]) do size = size + #field end
    start = '(' .. entry[1]
  end
until #part < 16 or #found >= tonumber(ARGV[3]) or size >= tonumber(ARGV[4])
return {head[1], head[2], head[3] or '', found}
"""
)

# KEYS: thread, places, clock.  ARGV: prefix, ms that places are kept
# Answers whether the thread is known, forgotten, renewed, now, of each log: key, epoch, next offset, closed.
THREAD = Script(
    _COMMON
    + """
prune(ARGV[1], KEYS[1], KEYS[2])
local places = redis.call('HMGET', KEYS[2], 'forgotten', 'renewed')
local logs, found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), {}
for at = 1, #logs, 2 do
  local head = redis.call('HMGET', ARGV[1] .. ':head:' .. logs[at], 'epoch', 'next', 'closed')
  if head[1] then found[#found + 1] = {logs[at], head[1], head[2], head[3] or ''} end
end
local known = places[1] and 1 or 0
return {known, places[1] or unknown(KEYS[3], ARGV[2]), places[2] or '', text(now()), found}
"""
)

# KEYS: ready.  ARGV: channel of a process without its id, name of what is offered, how many
# Each goes to the least busy process that listens. Answers how many of them are on their way.
OFFER = Script(
    """
for told = 1, tonumber(ARGV[3]) do
  repeat
    local process = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
    if not process then return told - 1 end
    local heard = redis.call('PUBLISH', ARGV[1] .. process, ARGV[2]) > 0
    if heard then redis.call('ZINCRBY', KEYS[1], 1, process) else redis.call('ZREM', KEYS[1], process) end
  until heard
end
return tonumber(ARGV[3])
"""
)

SCRIPTS = (BEGIN, APPEND, FETCH, THREAD, OFFER)
