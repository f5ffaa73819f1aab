"""The worker loops: a file through a cipher into a channel, and out of a channel through a cipher into a file.

Both block and run on a worker thread; asyncio never sees a byte of a file. Buffers of one chunk are made once, and on
either side the kernel copies each byte once and the cipher reads it once. Who owns channel, source and sink closes
them; what the session tells the peer before and afterwards is decided elsewhere.

`size` is the size of the whole file, `offset` where the stream begins in it, `length` how many bytes it carries (to the
end when None). Progress is told as a position in the file.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct

from jetcli.errors import IntegrityError, InterruptedTransferError, LocalFileError
from jetcli.protocol.cipher import CHUNK, ChunkedOpener, ChunkedSealer, PlainOpener, PlainSealer, stream_key
from jetcli.protocol.model import TAG_SIZE, Cipher, TransportSecret
from jetcli.protocol.policy import shown
from jetcli.transfer.intake import Intake, broken, interrupted
from jetcli.transfer.ring import Ring, buffers
from jetcli.xmpp.channel import Channel

#: A source that changes is noticed at the latest after this many bytes; the look costs two system calls.
_LOOK_AT_SOURCE = 256 * CHUNK

#: How long the bytes that a receiver writes back are waited for. Dino sends them before it reads.
_WRITTEN_BACK_S = 2.0


class FileSource(Protocol):
    """What is sent: `jetcli.files.source.Source`, or anything that reads at an offset."""

    @property
    def name(self) -> str:
        """Name for messages."""

    def read_into(self, buffer: memoryview, offset: int, /) -> int:
        """Fill `buffer` from `offset`; return how many bytes, 0 at the end of the file."""

    def changed(self) -> str | None:
        """Say how the file differs from what was opened, or None."""


class FileSink(Protocol):
    """Where received bytes go: `jetcli.files.sink.Sink`, or anything that writes in order."""

    def write(self, data: memoryview, /) -> object:
        """Write all of `data` at the current position."""


class SentStream(Struct, frozen=True):
    """How many plaintext bytes a stream carried, and their SHA-256 if it was asked for."""

    length: int
    sha256: bytes | None


class ReceivedStream(Struct, frozen=True):
    """How many verified plaintext bytes a stream carried, and digests if they were asked for.

    `wire_sha256` is over ciphertext and tag, which is what Conversations announces; only the plain cipher has one.
    """

    length: int
    sha256: bytes | None
    wire_sha256: bytes | None


def send_stream(
    channel: Channel,
    source: FileSource,
    cipher: Cipher,
    secret: TransportSecret,
    *,
    transcript: bytes | None,
    size: int | None,
    progress: Callable[[int], None],
    stop: threading.Event,
    offset: int = 0,
    length: int | None = None,
    hasher: bool = False,
    written_back: int = 0,
) -> SentStream:
    """Send the source and shut down the writing side; the channel stays open so that its owner can drain it.

    Before shutting down, waits a moment for the `written_back` bytes that some clients send against the stream: behind
    a proxy that closes both ways at once, they would destroy what the peer has still to read.

    `transcript` is `Transcript.digest()` for the chunked cipher, which alone sends a source whose `size` is None.
    Raises UnsupportedError before anything is sent for a file too large for the cipher; LocalFileError for a source
    that changed, whose tag or final chunk is then never sent; InterruptedTransferError when the channel fails or `stop`
    is set.
    """
    end = _end(size, offset, length)
    sealer: PlainSealer | ChunkedSealer
    if cipher is Cipher.CHUNKED:
        sealer = ChunkedSealer(_chunked_key(secret, transcript))
    else:
        sealer = PlainSealer(secret, _known(end) - offset)
    # A piece is sealed where it lies, while the processor's cache still has it; one that is hashed has to stay.
    (apart,) = buffers(1, CHUNK + TAG_SIZE) if hasher else (None,)
    position = offset
    with Ring(CHUNK + TAG_SIZE, hashing=hasher) as ring:
        for buffer, count, final in _pieces(source, ring, offset, end):
            if stop.is_set():
                raise interrupted("stopped", position, end)
            if final or not (position - offset) % _LOOK_AT_SOURCE:
                demand_unchanged(source)
            wire = buffer if apart is None else apart
            sealed = sealer.seal_into(buffer[:count], wire, final=final)
            ring.give(buffer, count)  # nobody takes it before the loop goes on
            try:
                channel.sendall(wire[:sealed])
                if final:
                    if written_back:
                        channel.drain(_WRITTEN_BACK_S, written_back)
                    # Before anything else: a proxy may keep the last bytes until it sees this.
                    channel.finish_sending()
            except OSError as error:
                raise broken(error, stop, position, end) from None
            position += count
            progress(position)
        return SentStream(position - offset, ring.digest())


def demand_unchanged(source: FileSource) -> None:
    """Raise LocalFileError where the source is not what was opened any more."""
    if (change := source.changed()) is not None:
        raise LocalFileError(f"'{shown(source.name)}' changed while it was sent: {change}")


def receive_stream(
    channel: Channel,
    sink: FileSink,
    cipher: Cipher,
    secret: TransportSecret,
    *,
    transcript: bytes | None,
    size: int | None,
    progress: Callable[[int], None],
    stop: threading.Event,
    offset: int = 0,
    length: int | None = None,
    hasher: bool = False,
    tail_stalled: Callable[[int], None] | None = None,
    name: str = "the file",
) -> ReceivedStream:
    """Receive one stream into the sink; when this returns, every byte of it is verified and none followed.

    `name` is for messages and already safe to show. `tail_stalled(missing)` is called once, on another thread, when
    fewer than 8 KiB of a plain stream are missing and nothing came for 1.5 s. Until this returns, the sink holds
    unverified bytes under a plain cipher, and only verified ones under the chunked cipher.
    Raises InterruptedTransferError for a stream that ends early, falls silent or is stopped; IntegrityError for a wrong
    tag or chunk; RemoteProtocolError (`media-error`) for bytes behind the last one; LocalFileError from the sink.
    """
    end = _end(size, offset, length)
    with Intake(channel, stop, position=offset, end=end, tail_stalled=tail_stalled) as intake:
        try:
            if cipher is Cipher.CHUNKED:
                chunks = ChunkedOpener(_chunked_key(secret, transcript))
                sha256, wire_sha256 = _receive_chunked(intake, sink, chunks, progress, hasher=hasher), None
            else:
                plain = PlainOpener(secret, _known(end) - offset)
                sha256, wire_sha256 = _receive_plain(intake, sink, plain, progress, hasher=hasher)
        except IntegrityError:
            kept = cipher is Cipher.CHUNKED and intake.position
            saved = f"the first {intake.position:,} bytes are verified and kept" if kept else "nothing was saved"
            raise IntegrityError(f"'{name}' was altered on the way; {saved}") from None
        return ReceivedStream(intake.position - offset, sha256, wire_sha256)


def _end(size: int | None, offset: int, length: int | None) -> int | None:
    if length is not None:
        return offset + length
    if size is not None and offset > size:
        raise ValueError("the stream begins behind the end of the file")
    return size


def _known(end: int | None) -> int:
    if end is None:
        raise ValueError("a plain stream needs a size")
    return end


def _chunked_key(secret: TransportSecret, transcript: bytes | None) -> bytes:
    if transcript is None:
        raise ValueError("a chunked stream needs a transcript")
    return stream_key(secret, transcript)


def _pieces(source: FileSource, ring: Ring, offset: int, end: int | None) -> Iterator[tuple[memoryview, int, bool]]:
    """Yield buffers of the ring with their number of bytes, and whether that piece is the last; at least one piece."""
    if end is None:
        yield from _pieces_to_the_end(source, ring, offset)
        return
    final = False
    while not final:
        buffer = ring.take()
        wanted = min(CHUNK, end - offset)
        if _read(source, buffer[:wanted], offset) < wanted:
            demand_unchanged(source)
            raise LocalFileError(f"'{shown(source.name)}' ended before its size")
        offset += wanted
        final = offset == end
        yield buffer, wanted, final


def _pieces_to_the_end(source: FileSource, ring: Ring, offset: int) -> Iterator[tuple[memoryview, int, bool]]:
    buffer = ring.take()
    count = _read(source, buffer[:CHUNK], offset)
    while count == CHUNK:
        offset += count
        ahead = ring.take()
        following = _read(source, ahead[:CHUNK], offset)
        yield buffer, count, following == 0
        if not following:
            return
        buffer, count = ahead, following
    yield buffer, count, True


def _read(source: FileSource, buffer: memoryview, offset: int) -> int:
    filled = 0
    while filled < len(buffer):
        count = source.read_into(buffer[filled:], offset + filled)
        if not count:
            break
        filled += count
    return filled


def _receive_plain(
    intake: Intake, sink: FileSink, opener: PlainOpener, progress: Callable[[int], None], *, hasher: bool
) -> tuple[bytes | None, bytes | None]:
    """Receive in whatever pieces come; return the digests of plaintext and wire."""
    with Ring(CHUNK, hashing=hasher) as wire, Ring(CHUNK, hashing=hasher) as plain:
        while opener.missing:
            sealed, buffer = wire.take(), plain.take()
            received = intake.some_into(sealed, missing=opener.missing)
            opened = opener.update_into(sealed[:received], buffer)
            sink.write(buffer[:opened])
            wire.give(sealed, received)
            plain.give(buffer, opened)
            intake.position += opened
            progress(intake.position)
        intake.finish()
        opener.finish()
        return plain.digest(), wire.digest()


def _receive_chunked(
    intake: Intake, sink: FileSink, opener: ChunkedOpener, progress: Callable[[int], None], *, hasher: bool
) -> bytes | None:
    """Receive chunk by chunk; return the digest of the plaintext."""
    # A chunk is opened where it lies, while the processor's cache still has it. In a stream of unknown length it may
    # have to be opened twice, so there it has to stay.
    (apart,) = buffers(1, CHUNK + TAG_SIZE) if intake.end is None else (None,)
    with Ring(CHUNK + TAG_SIZE, hashing=hasher) as ring:
        while not opener.finished:
            buffer = ring.take()
            opened = _open_chunk(intake, opener, buffer if apart is None else apart, buffer)
            sink.write(buffer[:opened])
            ring.give(buffer, opened)
            intake.position += opened
            progress(intake.position)
        intake.finish()
        return ring.digest()


def _open_chunk(intake: Intake, opener: ChunkedOpener, wire: memoryview, buffer: memoryview) -> int:
    """Receive one chunk into `wire` and open it into `buffer`; return how many plaintext bytes there are."""
    left = None if intake.end is None else intake.end - intake.position
    wanted = TAG_SIZE + (CHUNK if left is None else min(CHUNK, left))
    received = intake.chunk_into(wire[:wanted])
    short = received < wanted
    if short and (left is not None or received < TAG_SIZE):
        raise _cut(intake, received)
    final = (short or None) if left is None else left <= CHUNK
    try:
        return opener.open_into(wire[:received], buffer, final=final)
    except IntegrityError:
        if short:  # In a stream of unknown length, a chunk that was cut looks like one that was altered.
            raise _cut(intake, received) from None
        raise


def _cut(intake: Intake, received: int) -> InterruptedTransferError:
    return interrupted("connection lost", intake.position + max(received - TAG_SIZE, 0), intake.end)
