"""The blocking byte channel that a negotiation hands to a worker thread, and the one over a TCP connection.

asyncio is not involved: the worker calls, the kernel copies. The owner on the event loop's thread does nothing but
`abort`. Knows neither how the connection came about (`jetcli.xmpp.socks5`) nor what is sent over it.
"""

import fcntl
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

#: How long a channel may stand still, in seconds.
IDLE_S = 60.0
#: Bytes that are read at once to be thrown away, and how many at most when closing.
_DISCARD_SIZE = 65536
_DISCARD_LIMIT = 4 * 1024 * 1024
#: SO_NWRITE of macOS, which Python does not name.
_SO_NWRITE = 0x1024


def _timeval(seconds: float) -> bytes:
    """Return the `struct timeval` of a duration; one of nothing would mean no limit."""
    whole, microseconds = divmod(max(round(seconds * 1e6), 1), 1_000_000)
    return struct.pack("@ll", whole, microseconds)


class Channel(Protocol):
    """A connected bytestream for one worker thread. All calls but `abort` are the worker's, or its successor's.

    Where the idle time passes, `patience` is asked whether to wait on: it says so while the peer is known to be alive.
    """

    patience: Callable[[], bool]

    def recv_into(self, buffer: memoryview, /) -> int:
        """Put at least one byte into `buffer` and return how many; 0 at the end of the stream.

        Raises TimeoutError after the idle time, OSError when the stream is lost or aborted.
        """

    def sendall(self, data: memoryview, /) -> None:
        """Send all of `data`. Raises like `recv_into`."""

    def finish_sending(self) -> None:
        """Tell the peer that nothing more will be sent; what it sends can still be received."""

    def drain(self, deadline_s: float, /, enough: int | None = None) -> int:
        """Receive and discard until the end of the stream, for `deadline_s`, or until `enough` bytes have come.

        Returns how many bytes there were.
        """

    def close(self) -> None:
        """Close the stream. Closing twice is no error."""

    def abort(self) -> None:
        """Make the worker's present and later calls fail at once; for any thread."""


class SocketChannel:
    """A `Channel` over a connected TCP socket, which it owns."""

    def __init__(self, connection: socket.socket, *, idle_s: float = IDLE_S) -> None:
        self.patience: Callable[[], bool] = lambda: False
        self._socket = connection
        self._aborted = False
        connection.setblocking(True)
        # The kernel's own limits: one of Python's would ask `poll` before every call (6 % of all CPU seconds).
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, _timeval(idle_s))

    def recv_into(self, buffer: memoryview, /) -> int:
        """Receive at least one byte, see `Channel`; after `abort` raises ConnectionAbortedError."""
        count = self._receive(buffer)
        if not count and self._aborted:
            raise ConnectionAbortedError("the transfer was aborted")
        return count

    def _receive(self, buffer: memoryview) -> int:
        while True:
            try:
                return self._socket.recv_into(buffer)
            except BlockingIOError:
                if not self.patience():
                    raise TimeoutError("nothing came") from None

    def sendall(self, data: memoryview, /) -> None:
        """Send all of `data`, see `Channel`; the idle time passes only while the peer takes not a byte."""
        while data:
            data = data[self._send_some(data) :]

    def _send_some(self, data: memoryview) -> int:
        # A socket counts as writable only when a third of its buffer is free, which over a slow line may take longer
        # than the idle time. So silence proves nothing: the peer has stalled when the kernel's queue stays as it is.
        queued = self._queued()
        while True:
            try:
                return self._socket.send(data)
            except BlockingIOError:
                before, queued = queued, self._queued()
                if queued == before and not self.patience():
                    raise TimeoutError("nothing was taken") from None

    def _queued(self) -> int | None:
        """Return how many sent bytes the peer has not acknowledged; None where the system does not tell."""
        try:
            if sys.platform == "darwin":
                return self._socket.getsockopt(socket.SOL_SOCKET, _SO_NWRITE)
            (count,) = struct.unpack("i", fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)))
        except OSError:
            return None
        return int(count)

    def finish_sending(self) -> None:
        """Shut down the writing side: a FIN follows the last byte.

        A peer that is gone already is no error here. Whether it had received everything is for the session to say.
        """
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def drain(self, deadline_s: float, /, enough: int | None = None) -> int:
        """Receive and discard, see `Channel`; an error is an end, too."""
        scratch, total = bytearray(_DISCARD_SIZE), 0
        ends_at = time.monotonic() + deadline_s
        with self._blocking_again(), suppress(OSError):
            while (left_s := ends_at - time.monotonic()) > 0 and (enough is None or total < enough):
                self._socket.settimeout(left_s)
                count = self._socket.recv_into(scratch)
                if not count:
                    break
                total += count
        return total

    @contextmanager
    def _blocking_again(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._socket.setblocking(True)

    def close(self) -> None:
        """Close the connection with a FIN, unless the peer goes on sending."""
        if self._socket.fileno() < 0:
            return
        self.finish_sending()
        # The kernel answers a close with unread bytes by RST, which would destroy what the peer has still to read.
        with suppress(OSError):
            self._discard_arrived()
        self._socket.close()

    def _discard_arrived(self) -> None:
        self._socket.setblocking(False)
        scratch, total = bytearray(_DISCARD_SIZE), 0
        while total < _DISCARD_LIMIT and (count := self._socket.recv_into(scratch)):
            total += count

    def abort(self) -> None:
        """Make the worker's present and later calls fail at once; the socket stays open until `close`."""
        self._aborted = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
