"""What a reader wants to see: channels, namespaces, depth (contract/protocol-v2.md 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import Contradiction

CHANNELS = (
    "values",
    "updates",
    "messages",
    "tools",
    "custom",
    "lifecycle",
    "input",
    "checkpoints",
    "tasks",
)
NAMED = "custom:"  # begins the channels of custom events with a name
CHANNELS_MAX = 64
NAMESPACES_MAX = 256
SEGMENTS_MAX = 64

Namespace = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A filter of the events of a thread, and the number after which they are wanted."""

    channels: frozenset[str]
    namespaces: tuple[Namespace, ...] = ()
    depth: int | None = None
    since: int = -1

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> "Subscription":
        """Of a body or of the parameters of a command. Raises Contradiction for channels that there are not.

        What is malformed besides is passed over, as clients know it.
        """
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels:
            raise Contradiction("channels must be a non-empty array.")
        if len(channels) > CHANNELS_MAX:
            raise Contradiction(f"channels: must have at most {CHANNELS_MAX} items.")
        for channel in channels:
            if not (isinstance(channel, str) and (channel in CHANNELS or _is_named(channel))):
                raise Contradiction(
                    f"Unsupported channel: {str(channel)[:100]!r}. There are {', '.join(CHANNELS)} and "
                    "custom:<name>."
                )
        since = _count(params.get("since"))
        return cls(
            frozenset(channels),
            _namespaces(params.get("namespaces")),
            _count(params.get("depth")),
            -1 if since is None else since,
        )

    def wants(self, channel: str, namespace: Namespace, name: str | None = None) -> bool:
        """Whether it asks for events of a channel at a namespace; `name` is that of a custom event."""
        if channel not in self.channels and not (name is not None and NAMED + name in self.channels):
            return False
        if not self.namespaces:
            return True
        return any(self._below(prefix, namespace) for prefix in self.namespaces)

    def hears(self, channel: str) -> bool:
        """Whether it could want anything of a channel: what it cannot want is not even read."""
        return channel in self.channels or (
            channel == "custom" and any(asked.startswith(NAMED) for asked in self.channels)
        )

    def _below(self, prefix: Namespace, namespace: Namespace) -> bool:
        if len(prefix) > len(namespace):
            return False
        if self.depth is not None and len(namespace) - len(prefix) > self.depth:
            return False
        return all(map(_same, prefix, namespace))


def _same(asked: str, segment: str) -> bool:
    """`research` is every task of that node, `research:0b9e…` one of them."""
    return asked == segment or (":" not in asked and asked == segment.partition(":")[0])


def _namespaces(value: Any) -> tuple[Namespace, ...]:
    if not isinstance(value, list) or len(value) > NAMESPACES_MAX:
        return ()
    return tuple(
        tuple(item)
        for item in value
        if isinstance(item, list)
        and len(item) <= SEGMENTS_MAX
        and all(isinstance(segment, str) for segment in item)
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_named(channel: str) -> bool:
    return channel.startswith(NAMED) and len(channel) > len(NAMED)
