"""Protocol v2, the thread stream: commands, subscriptions, events (contract/protocol-v2.md)."""

from .routes import OPERATIONS, SOCKETS

__all__ = ["OPERATIONS", "SOCKETS"]
