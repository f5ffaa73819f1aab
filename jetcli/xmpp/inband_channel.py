"""One in-band bytestream as a blocking `Channel`: the bridge between a worker thread and the event loop.

The worker blocks on a condition; the loop never waits for the worker. A block that is sent takes a place in the window
until the peer acknowledges it, a block that came is acknowledged when the worker has taken it: so both sides hold a few
blocks at most, however fast one of them is. Knows no stanzas: `jetcli.xmpp.inband` gives it a way to send and feeds it.
"""

import asyncio
import binascii
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from jetcli.errors import JetError, RemoteProtocolError
from jetcli.protocol.bytestream import SEQ_MODULO, SequenceCheck, Verdict, Window, sequence_number, strict_base64
from jetcli.xmpp.channel import IDLE_S

#: Blocks of the peer that wait for the worker; who sends more without waiting for acknowledgements is cut off.
MAX_WAITING = 64
_DISCARD_SIZE = 65536

#: Sends one block, given seq and base64 text, and returns when it was acknowledged; raises JetError.
Deliver = Callable[[int, str], Awaitable[None]]


class BlockRefusedError(Exception):
    """A block cannot be taken; `condition` names the stanza error to answer with (XEP-0047 section 2.2)."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


@dataclass(slots=True)
class _Block:
    """A block that came, how much of it the worker has taken, and the acknowledgement that waits for that."""

    data: bytes
    acknowledgement: "asyncio.Future[None]"
    taken: int = field(default=0)


class InbandChannel:
    """A `Channel` of blocks of at most `block_size` bytes.

    `deliver` sends a block, `hang_up` tells the peer that the bytestream is closed, `released` is called when it is of
    no more use; all run on the event loop's thread. `modulo` is where the peer's sequence numbers start again.
    """

    def __init__(
        self,
        block_size: int,
        *,
        deliver: Deliver,
        hang_up: Callable[[], None],
        released: Callable[[], None],
        modulo: int = SEQ_MODULO,
        idle_s: float = IDLE_S,
    ) -> None:
        self.block_size = block_size
        self._deliver = deliver
        self._hang_up = hang_up
        self._released = released
        self._modulo = modulo
        self._idle_s = idle_s
        self.patience: Callable[[], bool] = lambda: False
        self._loop = asyncio.get_running_loop()
        # Everything below is shared with the worker and guarded by this condition, except where noted.
        self._changed = threading.Condition()
        self._failure: OSError | RemoteProtocolError | None = None
        self._aborted = False
        self._closed = False
        self._hung_up = False
        self._window = Window(block_size)
        self._in_flight = self._acknowledged = 0
        self._arrived: deque[_Block] = deque()
        # The worker's own.
        self._begun = bytearray()
        self._blocks = 0
        # The loop's own.
        self._sequence = SequenceCheck(modulo)
        self._deliveries: set[asyncio.Future[None]] = set()

    # The worker's side.

    def recv_into(self, buffer: memoryview, /) -> int:
        """Receive at least one byte, see `Channel`; also raises RemoteProtocolError for what the peer did wrong.

        What had arrived before a failure is still given out; after `abort` nothing is.
        """
        with self._changed:
            self._wait_until(lambda: bool(self._arrived or self._closed))
            if not self._arrived:
                if self._failure is not None:
                    raise self._failure
                return 0
            block = self._arrived[0]
            count = min(len(buffer), len(block.data) - block.taken)
            buffer[:count] = memoryview(block.data)[block.taken : block.taken + count]
            block.taken += count
            if block.taken < len(block.data):
                return count
            self._arrived.popleft()
        self._on_loop(_acknowledge, block)
        return count

    def sendall(self, data: memoryview, /) -> None:
        """Send all of `data` in full blocks, see `Channel`; what is left waits for more or for `finish_sending`."""
        while len(self._begun) + len(data) >= self.block_size:
            room = self.block_size - len(self._begun)
            if self._begun:
                self._begun += data[:room]
                self._send_block(self._begun)
                self._begun.clear()
            else:
                self._send_block(data[:room])
            data = data[room:]
        self._begun += data

    def finish_sending(self) -> None:
        """Send what is left, wait until the peer has acknowledged every block, and close the bytestream.

        Unlike a connection it ends in both directions: nothing can be received any more. After `abort` it does nothing.
        Raises OSError where blocks were not acknowledged.
        """
        with suppress(ConnectionAbortedError):
            if self._begun:
                self._send_block(self._begun)
                self._begun.clear()
            self._wait_for_acknowledgements()
            self._on_loop(self._finish)

    def drain(self, deadline_s: float, /, enough: int | None = None) -> int:
        """Receive and discard, see `Channel`; an error is an end, too."""
        scratch, total = memoryview(bytearray(_DISCARD_SIZE)), 0
        ends_at = self._loop.time() + deadline_s
        idle_s = self._idle_s
        with suppress(OSError, RemoteProtocolError):
            while (left_s := ends_at - self._loop.time()) > 0 and (enough is None or total < enough):
                self._idle_s = left_s
                count = self.recv_into(scratch)
                if not count:
                    break
                total += count
        self._idle_s = idle_s
        return total

    def close(self) -> None:
        """Close the bytestream, from any thread: what is not sent or taken is lost, and the peer is told."""
        self.abort()
        with suppress(ConnectionAbortedError):
            self._on_loop(self._release)

    def abort(self) -> None:
        """Make the worker's present and later calls fail at once, from any thread."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def _send_block(self, block: bytearray | memoryview) -> None:
        text = binascii.b2a_base64(block, newline=False).decode("ascii")
        with self._changed:
            self._wait_until(lambda: self._in_flight < self._window.size or self._closed)
            if self._closed:
                raise self._failure or ConnectionResetError("the peer closed the bytestream")
            self._in_flight += 1
        seq = sequence_number(self._blocks, self._modulo)
        self._blocks += 1
        self._on_loop(self._start_delivery, seq, text)

    def _wait_for_acknowledgements(self) -> None:
        with self._changed:
            self._wait_until(lambda: not self._in_flight or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def _wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait as long as anything moves: over a slow line a block is acknowledged now and then."""
        while not (self._aborted or condition()):
            if not (self._stirs(condition) or self.patience()):
                raise TimeoutError("the bytestream stands still")
        if self._aborted:
            raise ConnectionAbortedError("the transfer was aborted")

    def _stirs(self, condition: Callable[[], bool]) -> bool:
        before = self._acknowledged
        return self._changed.wait_for(lambda: self._aborted or self._acknowledged > before or condition(), self._idle_s)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            raise ConnectionAbortedError("the event loop is closed") from None

    # The loop's side.

    def take(self, seq: int, text: str) -> "asyncio.Future[None]":
        """Take a block of the peer; return the future that is done when the block may be acknowledged.

        Raises BlockRefusedError. All but a repeated block end the bytestream for both sides: what follows would have a
        hole (XEP-0047 section 2.2).
        """
        if self._closed or self._aborted:
            raise BlockRefusedError("item-not-found", "the bytestream is closed")
        verdict = self._sequence.take(seq)
        if verdict is Verdict.REPEATED:
            raise BlockRefusedError("unexpected-request", f"block {seq} is {verdict.value}")
        if verdict is Verdict.LOST:
            raise self._broken("unexpected-request", f"block {seq} is {verdict.value}")
        # Four characters are three bytes: a longer text cannot be a block, and is not worth decoding.
        if len(text) > (self.block_size + 2) // 3 * 4:
            raise self._broken("bad-request", f"a block is larger than {self.block_size} bytes")
        try:
            data = strict_base64(text)
        except ValueError:
            raise self._broken("bad-request", "a block is no valid base64") from None
        if len(data) > self.block_size:
            raise self._broken("bad-request", f"a block is larger than {self.block_size} bytes")
        return self._queue(data)

    def _queue(self, data: bytes) -> "asyncio.Future[None]":
        block = _Block(data, self._loop.create_future())
        with self._changed:
            if len(self._arrived) < MAX_WAITING:
                if data:
                    self._arrived.append(block)
                    self._changed.notify_all()
                else:
                    _acknowledge(block)
                return block.acknowledgement
        raise self._broken("resource-constraint", "too many blocks were sent without waiting")

    def peer_closed(self) -> None:
        """Note that the peer has closed the bytestream; what it sent before can still be received."""
        self._hung_up = True
        unacknowledged = self._in_flight
        self._stop(ConnectionResetError("the peer closed the bytestream too early") if unacknowledged else None)

    def fail(self, error: OSError | RemoteProtocolError) -> None:
        """End the bytestream with an error for the worker; what arrived before can still be received."""
        self._stop(error)

    def _stop(self, failure: OSError | RemoteProtocolError | None) -> None:
        with self._changed:
            if not self._closed:
                self._closed, self._failure = True, failure
                self._changed.notify_all()

    def _broken(self, condition: str, text: str) -> BlockRefusedError:
        self.fail(RemoteProtocolError(f"in-band bytestream: {text}", condition="failed-transport"))
        self._finish()
        return BlockRefusedError(condition, text)

    def _start_delivery(self, seq: int, text: str) -> None:
        delivery = self._loop.create_task(self._deliver_one(seq, text))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def _deliver_one(self, seq: int, text: str) -> None:
        began = self._loop.time()
        try:
            await self._deliver(seq, text)
        except JetError as error:
            self.fail(ConnectionResetError(error.message))
            return
        with self._changed:
            self._window.acknowledged(self._loop.time() - began)
            self._in_flight -= 1
            self._acknowledged += 1
            self._changed.notify_all()

    def _finish(self) -> None:
        self._stop(None)
        if not self._hung_up:
            self._hung_up = True
            self._hang_up()

    def _release(self) -> None:
        self._finish()
        for delivery in self._deliveries:
            delivery.cancel()
        with self._changed:
            waiting = list(self._arrived)
            self._arrived.clear()
        for block in waiting:
            if not block.acknowledgement.done():
                block.acknowledgement.set_exception(BlockRefusedError("item-not-found", "the bytestream is closed"))
        self._released()


def _acknowledge(block: _Block) -> None:
    if not block.acknowledgement.done():
        block.acknowledgement.set_result(None)
