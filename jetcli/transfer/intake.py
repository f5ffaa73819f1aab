"""Reading a channel until it is exactly complete: what comes is counted, and every way to fail is told apart.

Silence, an early end, a surplus and our own wish to stop become the errors that they are. Knows no cipher and no file.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from jetcli.errors import InterruptedTransferError, RemoteProtocolError
from jetcli.protocol.model import TAG_SIZE
from jetcli.xmpp.channel import Channel

#: A proxy of Prosody can hold back less than this until the sender closes; then nothing comes for this long.
TAIL_SIZE = 8192
TAIL_SILENCE_S = 1.5

#: How long a receiver that has everything looks for surplus bytes. It ends at once when the sender has shut down its
#: writing side; some clients keep it open, and no file should wait long for them.
SURPLUS_WAIT_S = 0.2


def interrupted(cause: str, count: int, size: int | None) -> InterruptedTransferError:
    """Say how far a transfer of `size` bytes came; `count` bytes are through."""
    of = "" if size is None else f" of {size:,}"
    return InterruptedTransferError(f"{cause} after {count:,}{of} bytes")


def broken(error: OSError, stop: threading.Event, count: int, size: int | None) -> InterruptedTransferError:
    """Say why a channel failed: stopped by us, silent for too long, or lost."""
    if stop.is_set():
        return interrupted("stopped", count, size)
    return interrupted(
        "the peer was silent too long" if isinstance(error, TimeoutError) else "connection lost", count, size
    )


class TailWatch:
    """Call `stalled(missing)` once, on a thread of its own, when the last bytes of a stream do not come."""

    def __init__(self, stalled: Callable[[int], None] | None) -> None:
        self._stalled = stalled
        self._timer: threading.Timer | None = None
        self._guard = threading.Lock()

    def expect(self, missing: int) -> None:
        """Note that `missing` bytes are still to come, and that the stream has just made progress."""
        if self._stalled is None or missing >= TAIL_SIZE:
            return
        self.stop()
        if missing:
            self._timer = threading.Timer(TAIL_SILENCE_S, self._fire, (missing,))
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Forget what was expected."""
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self, missing: int) -> None:
        with self._guard:
            stalled, self._stalled = self._stalled, None
        if stalled is not None:
            stalled(missing)


class Intake:
    """The receiving side of a channel, counted. A context manager: leaving it stops the watch on the tail.

    `position` is how far the file has come, in plaintext bytes, and is moved by whoever opens what is received; `end`
    is where the stream ends in the file, None when only its final chunk will tell.
    """

    def __init__(
        self,
        channel: Channel,
        stop: threading.Event,
        *,
        position: int,
        end: int | None,
        tail_stalled: Callable[[int], None] | None = None,
    ) -> None:
        self.position = position
        self.end = end
        self._start = position
        self._channel = channel
        self._stop = stop
        self._watch = TailWatch(tail_stalled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.stop()

    def some_into(self, buffer: memoryview, *, missing: int) -> int:
        """Receive once, no more than the `missing` bytes of the stream; return how many bytes came, at least one.

        Raises InterruptedTransferError when the stream ends, falls silent or is stopped.
        """
        self._watch.expect(missing)
        # The last 16 bytes that came may turn out to be the tag, so they do not count as bytes of the file.
        count = max(self._start, (self.end or 0) - missing)
        length = self._receive(buffer[:missing], count)
        if not length:
            raise interrupted("connection lost", count, self.end)
        return length

    def chunk_into(self, buffer: memoryview) -> int:
        """Receive a sealed chunk, or what there is of it before the stream ends; return how many bytes came.

        Raises InterruptedTransferError when the stream falls silent or is stopped.
        """
        filled = 0
        while filled < len(buffer):
            length = self._receive(buffer[filled:], self.position + max(filled - TAG_SIZE, 0))
            if not length:
                break
            filled += length
        return filled

    def finish(self) -> None:
        """Make sure that nothing follows the last byte; raise RemoteProtocolError where something does."""
        self._watch.stop()
        try:
            surplus = self._channel.drain(SURPLUS_WAIT_S)
        except OSError:
            return  # Everything has come: how the connection ends no longer matters.
        if surplus:
            raise RemoteProtocolError("the peer sent more than it announced", condition="media-error")

    def _receive(self, buffer: memoryview, count: int) -> int:
        if self._stop.is_set():
            raise interrupted("stopped", count, self.end)
        try:
            return self._channel.recv_into(buffer)
        except OSError as error:
            raise broken(error, self._stop, count, self.end) from None
