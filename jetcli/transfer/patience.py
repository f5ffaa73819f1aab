"""Waiting for someone at one end: a stream that stands still because a pipe does, and not because the line is dead.

The side whose pipe waits says so (an empty session-info); the other side then waits on, where it would have given up a
dead line. So does a side whose workers are all busy with other streams. Only jets do either.
"""

import math
import time
from typing import Protocol

from jetcli.protocol.model import Ping
from jetcli.xmpp.channel import Channel
from jetcli.xmpp.negotiation import Negotiation

#: How often a side says that it waits, as a share of the idle time, and how long the other believes it.
_SHARE = 4
_BELIEVED_S = 60.0
#: A free worker begins before this: a stream that has not begun by then is queued.
_AT_ONCE_S = 0.1


class Waits(Protocol):
    """The local end of a stream."""

    @property
    def waiting(self) -> bool:
        """Whether it waits for somebody."""


class Turn:
    """A stream's turn on a worker thread: it waits from the moment when it is queued until the worker calls `begin`."""

    def __init__(self) -> None:
        self._queued_at = time.monotonic()
        self._begun = False

    @property
    def waiting(self) -> bool:
        """Whether no worker has been free for it."""
        return not self._begun and time.monotonic() - self._queued_at >= _AT_ONCE_S

    def begin(self) -> None:
        """Note that a worker has begun; for any thread."""
        self._begun = True


class Patience:
    """Watches one stream: tells the peer while our end waits, and lets the channel wait while the peer's does."""

    def __init__(self, negotiation: Negotiation, channel: Channel, *local: Waits, idle_s: float) -> None:
        self._negotiation = negotiation
        self._local = local
        self._every_s = idle_s / _SHARE
        self._told_at = -math.inf
        channel.patience = self._peer_waits

    def look(self) -> None:
        """Say that we wait, if we do and have not just said so; called on the loop's thread now and then."""
        now = time.monotonic()
        if any(each.waiting for each in self._local) and now - self._told_at >= self._every_s:
            self._told_at = now
            self._negotiation.inform(Ping())

    def _peer_waits(self) -> bool:
        # The loop's clock is the monotonic one, which any thread may read.
        return time.monotonic() - self._negotiation.pinged_at < _BELIEVED_S
