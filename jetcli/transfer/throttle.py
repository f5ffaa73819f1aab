"""No more bytes a second than the user wants: one limit for all streams of a process, whichever way they go.

A stream waits on its worker thread; the peer notices a slow line and nothing else.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from jetcli.xmpp.channel import Channel

#: How much may move at once, in seconds of the rate: often enough to be smooth.
_STEP_S = 0.1


class Pause(Protocol):
    """Waits for so many seconds, or until somebody says that it is over: `threading.Event.wait`."""

    def __call__(self, timeout_s: float, /) -> object:
        """Wait."""


class Throttle:
    """A limit of `rate` bytes a second for whoever takes from it; None is no limit. For any thread."""

    def __init__(self, rate: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._waiting = 0

    @property
    def waiting(self) -> bool:
        """Whether a stream waits for its turn."""
        return self._waiting > 0

    @property
    def step(self) -> int | None:
        """How many bytes to take at once, None for any number."""
        return None if self._rate is None else max(1, int(self._rate * _STEP_S))

    def take(self, count: int, pause: Pause) -> None:
        """Wait until `count` more bytes may move, at the latest until `pause` is over."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            begins = max(self._free_at, now)
            self._free_at = begins + count / self._rate
            self._waiting += 1
        try:
            pause(begins - now)
        finally:
            with self._lock:
                self._waiting -= 1

    def slowed(self, channel: Channel) -> Channel:
        """Return a channel whose bytes are taken from here."""
        return channel if self._rate is None else _SlowChannel(channel, self)


class _SlowChannel:
    """A `Channel` whose bytes wait for their turn."""

    def __init__(self, channel: Channel, throttle: Throttle) -> None:
        self._channel = channel
        self._throttle = throttle
        self._over = threading.Event()

    @property
    def patience(self) -> Callable[[], bool]:
        return self._channel.patience

    @patience.setter
    def patience(self, patience: Callable[[], bool]) -> None:
        self._channel.patience = patience

    def recv_into(self, buffer: memoryview, /) -> int:
        count = self._channel.recv_into(buffer[: self._throttle.step])
        self._throttle.take(count, self._over.wait)
        return count

    def sendall(self, data: memoryview, /) -> None:
        step = self._throttle.step or len(data)
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            self._throttle.take(len(piece), self._over.wait)
            self._channel.sendall(piece)

    def finish_sending(self) -> None:
        self._channel.finish_sending()

    def drain(self, deadline_s: float, /, enough: int | None = None) -> int:
        return self._channel.drain(deadline_s, enough)

    def close(self) -> None:
        self._channel.close()

    def abort(self) -> None:
        self._over.set()
        self._channel.abort()
