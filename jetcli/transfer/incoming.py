"""The bytes of one file on their way in: stream, checksum, and the publish order.

The order is the promise: exact byte count, tag or final chunk, checksum where one was promised, fsync, mode, link
without replacing, fsync of the directory, `<received/>`, session-terminate. Only then is the file done. How the session
came about, by the peer's offer or by our own request, is the business of whoever hands over `begin`.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from jetcli.errors import DeclinedError, IntegrityError, InterruptedTransferError, JetError, NotResumableError
from jetcli.files.sink import Output, Sink
from jetcli.protocol.checksum import proves
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import (
    SOURCE_CHANGED,
    Cipher,
    Content,
    Hash,
    PathKind,
    Ping,
    Range,
    Received,
    TransportSecret,
)
from jetcli.protocol.policy import shown
from jetcli.protocol.transcript import Transcript
from jetcli.transfer.account import Online
from jetcli.transfer.events import FileDone, Listener, PathChosen, Phase, Progress, Verification, Warned
from jetcli.transfer.journal import Journal
from jetcli.transfer.outcome import Broken, Outcome, failure_of, is_transient, last_word, reason_for
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.patience import Patience, Turn
from jetcli.transfer.proving import digest_of, heard, show_prefix
from jetcli.transfer.pump import BothEnds, Counter, pump
from jetcli.transfer.stream import ReceivedStream, receive_stream
from jetcli.xmpp.channel import Channel
from jetcli.xmpp.negotiation import Negotiation, OfferWithdrawn, SessionEnded

#: How long a promised checksum is waited for after the tag.
CHECKSUM_S = 5.0
#: How often a receiver that is publishing says that it is alive.
ALIVE_S = 15.0

#: How often a worker notes how far it is: what lies in the part behind the last note is sent again after a kill.
NOTE_SIZE = 8 * 2**20

T = TypeVar("T")


class Begun(Struct, frozen=True):
    """An active session: the content of its session-initiate, and whether the sender wants proof of what we hold."""

    offer: Content
    prove: bool = False


#: Accepts or requests, and returns once the session is active.
Begin = Callable[[], Awaitable[Begun]]


class Expected(Struct, frozen=True):
    """What is to come: `name` is the local one, `size` the whole file's, None where only the final chunk tells.

    More than `most` bytes are declined. `repeatable` says that the sender can begin in the middle, which it cannot of a
    pipe. `anew` says that after a break it offers by itself what did not come. `sha256` is the digest that the whole
    file must have, `checksum` says that the sender will tell it. `device` is the identity key of the device that sealed
    `secret`, if that was an offer.
    """

    id: str
    name: str
    size: int | None
    date: str | None
    cipher: Cipher
    secret: TransportSecret
    checksum: bool = False
    keep_partial: bool = False
    continued: bool = False
    sha256: bytes | None = None
    most: int | None = None
    repeatable: bool = True
    anew: bool = False
    device: bytes | None = None

    @property
    def between_jets(self) -> bool:
        """Whether the stream is chunked, which only jets do."""
        return self.cipher is Cipher.CHUNKED

    @property
    def hashed(self) -> bool:
        """Whether the whole file is to be compared with a digest."""
        return self.checksum or self.sha256 is not None


class Incoming:
    """One stream into one sink, from where the sink stands."""

    def __init__(
        self,
        online: Online,
        emit: Listener,
        negotiation: Negotiation,
        *,
        expected: Expected,
        sink: Output,
        journal: Journal,
        mailbox: Mailbox,
    ) -> None:
        self._online = online
        self._emit = emit
        self._negotiation = negotiation
        self._expected = expected
        self._sink = sink
        self._journal = journal
        self._mailbox = mailbox
        self._noted = sink.position
        self._unproven = expected.device if expected.between_jets else None
        self._unsound = False
        self._peer = negotiation.session.peer
        self._offset = sink.position
        self._flowing = False
        self._published = False
        self._started = time.monotonic()

    async def run(self, begin: Begin) -> Outcome:
        """Begin the session, receive and publish; a failure is returned, and the part kept where it may be."""
        self._mailbox.current = self._negotiation
        try:
            return await self._receive(await begin())
        except JetError as error:
            return self._failed(error)
        except SessionEnded as ended:
            failure = failure_of(ended.end, shown(self._peer), shown(self._expected.name), flowing=self._flowing)
            withdrawn = isinstance(ended, OfferWithdrawn) and ended.end.by_peer
            return replace(self._failed(failure, ended.end), withdrawn=withdrawn)
        except BaseException:
            if not self._published:
                self._leave(keep=self._resumable)
            raise
        finally:
            self._mailbox.abandon = lambda: None

    async def _receive(self, begun: Begun) -> FileDone:
        if begun.prove:
            self._emit(Phase("comparing what both sides hold", self._expected.id))
            secret = self._expected.secret
            assert isinstance(self._sink, Sink), "only what can be read again is continued"
            await show_prefix(self._online, self._negotiation, secret, self._sink, self._offset)
        self._emit(Phase("looking for a way", self._expected.id))
        channel = self._online.throttle.slowed(await self._negotiation.take_channel())
        self._mailbox.abandon = channel.abort
        path = self._negotiation.path
        assert path is not None, "a channel has a path"
        self._emit(PathChosen(self._expected.id, "receive", path, self._negotiation.relay))
        self._flowing = True
        self._negotiation.first_byte()
        self._journal.active()
        if isinstance(self._sink, Sink):
            self._sink.sync_in_background(lambda synced: self._journal.synced(self._sink.position, synced))
        try:
            received = await self._whole(await self._pump(channel, path, begun.offer))
            verified = await self._check(received)
            published = await to_the_end(self._publish_and_tell())
        except InterruptedTransferError:
            await last_word(self._negotiation)
            raise
        finally:
            channel.close()
        return self._done(published, received, verified)

    async def _pump(self, channel: Channel, path: PathKind, offer: Content) -> ReceivedStream:
        expected, loop = self._expected, asyncio.get_running_loop()
        transcript = self._transcript(offer) if expected.between_jets else None
        held_back = path is PathKind.PROXY and not expected.between_jets

        def tail_stalled(_missing: int) -> None:
            # A proxy holds the last bytes back until the sender closes, and the sender waits for our end.
            loop.call_soon_threadsafe(self._negotiation.terminate, "success")

        turn = Turn()

        def work(counter: Counter, stop: threading.Event) -> ReceivedStream:
            turn.begin()

            def progress(position: int) -> None:
                counter.set(position)
                self._remember_jet()
                if expected.most is not None and position > expected.most:
                    raise DeclinedError(f"'{shown(expected.name)}' is larger than --max-size")
                self._note(position)

            return receive_stream(
                channel,
                self._sink,
                expected.cipher,
                expected.secret,
                transcript=transcript,
                size=expected.size,
                offset=self._offset,
                progress=progress,
                stop=stop,
                hasher=expected.hashed and not self._offset,
                tail_stalled=tail_stalled if held_back else None,
                name=shown(expected.name),
            )

        local = (turn, self._sink, self._online.throttle)
        patience = Patience(self._negotiation, channel, *local, idle_s=self._online.network.idle_s)

        def told(position: int) -> None:
            self._progress(position)
            if expected.between_jets:
                patience.look()

        both = BothEnds(channel, self._sink)
        ended = self._negotiation.ended
        return await pump(self._online.pool, both, work, told, ended=ended, start=self._offset, success_ends=False)

    def _transcript(self, offer: Content) -> bytes:
        session = self._negotiation.session
        initiator, responder = (self._online.jid, self._peer) if session.initiator else (self._peer, self._online.jid)
        agreed = Range(self._offset) if self._offset else None
        transcript = Transcript.of(offer, sid=session.sid, initiator=initiator, responder=responder, agreed=agreed)
        return transcript.digest()

    def _remember_jet(self) -> None:
        """Remember that the device speaks the chunked cipher, since a chunk of it was opened; called by the worker."""
        device, self._unproven = self._unproven, None
        if device is not None:
            self._online.chunked_peers.remember(device, time.time())

    def _note(self, position: int) -> None:
        """Note how far the part is, now and then; called by the worker."""
        if self._expected.between_jets and position - self._noted >= NOTE_SIZE:
            self._noted = position
            self._journal.written(position)

    def _progress(self, position: int) -> None:
        self._emit(Progress(self._expected.id, "receive", position, self._expected.size, self._offset))

    async def _whole(self, received: ReceivedStream) -> ReceivedStream:
        """Return a stream that was only the rest of a file with the digest of all of it, where that is compared."""
        if not (self._expected.hashed and self._offset):
            return received
        assert isinstance(self._sink, Sink), "only what can be read again is continued"
        self._emit(Phase("hashing what has come", self._expected.id))
        sha256 = await digest_of(self._online, self._sink, self._sink.position, self._negotiation)
        return replace(received, sha256=sha256)

    async def _check(self, received: ReceivedStream) -> Verification:
        """Compare the promised checksum; say what has been verified.

        Raises IntegrityError where it differs or a jet sends none of use, InterruptedTransferError where it sends none.
        """
        jets = self._expected.between_jets
        proof: Verification = "chunks" if jets else "tag"
        if received.sha256 is None:
            return proof
        if self._expected.sha256 is not None:
            return self._compare(received.sha256)
        self._emit(Phase("waiting for the checksum", self._expected.id))
        hashes = await self._announced()
        name = shown(self._expected.name)
        if hashes is None and jets:
            # The line may have hung since the last byte: the part is sound, and the next session brings the word.
            raise InterruptedTransferError(f"the promised checksum of '{name}' did not come in time")
        agrees = proves(hashes or (), sha256=received.sha256, wire_sha256=received.wire_sha256)
        if agrees is False or (agrees is None and jets):
            self._unsound = True
            wrong = "does not match the announced checksum" if agrees is False else "was announced no usable checksum"
            raise IntegrityError(f"'{name}' {wrong}; nothing was saved")
        if agrees is None:
            self._emit(Warned(f"{shown(self._peer)} announced no usable checksum of '{name}'", self._expected.id))
            return proof
        if jets:
            self._journal.digest_is(received.sha256)
        return "chunks+checksum" if jets else "tag+checksum"

    async def _announced(self) -> tuple[Hash, ...] | None:
        """Wait for the sender's word, as long as it says that it hashes what it had sent before; None: none came."""
        checksum = self._negotiation.checksum
        if self._offset:
            await heard(self._negotiation, checksum)
        else:
            await asyncio.wait({checksum}, timeout=CHECKSUM_S)
        return checksum.result().hashes if checksum.done() else None

    def _compare(self, sha256: bytes) -> Verification:
        """Compare what came with the digest that it was requested by."""
        self._unsound = True
        if sha256 != self._expected.sha256:
            raise another_file(self._expected.name)
        return "chunks+checksum"

    async def _publish_and_tell(self) -> Path | None:
        """Publish and say so: a file is published and recorded, or neither."""
        published = await self._publish()
        self._published = True
        self._journal.done()
        self._negotiation.inform(Received())
        self._negotiation.terminate("success")
        return published

    async def _publish(self) -> Path | None:
        """Publish the verified file, telling the peer now and then that we are alive."""
        loop = asyncio.get_running_loop()
        publishing = loop.run_in_executor(
            self._online.finishing, self._sink.publish, believed_time(self._expected.date)
        )
        while not publishing.done():
            await asyncio.wait({publishing}, timeout=ALIVE_S)
            if not publishing.done():
                self._negotiation.inform(Ping())
        return publishing.result()

    # Ends.

    def _done(self, path: Path | None, received: ReceivedStream, verified: Verification) -> FileDone:
        sha256 = received.sha256.hex() if received.sha256 else None
        name = path.name if path else self._expected.name
        size, seconds = self._offset + received.length, time.monotonic() - self._started
        done = FileDone(self._expected.id, "receive", name, path, size, seconds, verified, sha256)
        self._emit(done)
        return done

    def _failed(self, error: JetError, end: Ended | None = None) -> Broken:
        # What a promised checksum contradicts is of no use, although each of its chunks was what the sender sent.
        # Nor is an empty part, of a stream that was altered from its first chunk on, or the part of a file that the
        # sender does not have any more.
        contradicted = isinstance(error, IntegrityError) and (self._unsound or not self._sink.position)
        outdated = isinstance(error, NotResumableError) and error.application == SOURCE_CHANGED
        # The one byte that is fetched again for the sake of the checksum is no progress.
        moved = self._sink.position > self._offset + self._expected.checksum
        keep = self._resumable and not (contradicted or outdated or isinstance(error, DeclinedError))
        self._leave(keep=keep)
        self._negotiation.end_for(reason_for(error))
        goes_on = keep or (self._expected.anew and self._flowing)
        return Broken(error, kept=keep, transient=goes_on and is_transient(error, end), moved=moved)

    @property
    def _resumable(self) -> bool:
        """Whether what is in the part is verified, so that another session may build on it."""
        return (
            self._expected.repeatable
            and self._sink.resumable
            and self._expected.between_jets
            and (self._flowing or self._expected.continued)
        )

    def _leave(self, *, keep: bool) -> None:
        """Keep the verified bytes for another session, or remove the part."""
        if not keep and not self._expected.keep_partial:
            self._sink.discard()
            self._journal.failed(kept=False)
            return
        synced = self._sink.keep()
        self._journal.synced(self._sink.position, synced)
        self._journal.failed(kept=keep)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` until it has ended, however often we are stopped meanwhile; only then we are."""
    task = asyncio.get_running_loop().create_task(work)
    stopped: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as again:
            stopped = again
    if stopped is None:
        return task.result()
    task.exception()  # seen: that we were stopped is what the caller learns
    raise stopped


def another_file(name: str) -> IntegrityError:
    """Return the failure of a whole file that has not the digest that it must have."""
    return IntegrityError(f"'{shown(name)}' is not the file of that sha-256; nothing was saved")


def believed_time(date: str | None) -> float | None:
    """Return the time that a `<date/>` means (XEP-0082), or None where it means none."""
    if date is None:
        return None
    try:
        return datetime.fromisoformat(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
