"""The bytes of one file on their way out: the stream, then the receiver's confirmation.

How the session came about, by our own offer or by the peer's request, is the business of whoever hands over `begin`.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct, field
from msgspec.structs import replace

from jetcli.errors import DeclinedError, InterruptedTransferError, JetError, LocalFileError, NotResumableError
from jetcli.files.source import Origin, Source
from jetcli.protocol.checksum import checksum
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import SOURCE_CHANGED, Cipher, Content, PathKind, Range, Reason, TransportSecret
from jetcli.protocol.policy import shown
from jetcli.protocol.transcript import Transcript
from jetcli.transfer.account import Online
from jetcli.transfer.events import Direction, FileDone, Listener, PathChosen, Phase, Progress
from jetcli.transfer.journal import Journal
from jetcli.transfer.outcome import Broken, Outcome, failure_of, is_transient, last_word, reason_for
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.patience import Patience, Turn
from jetcli.transfer.proving import demand_prefix, digest_of
from jetcli.transfer.pump import BothEnds, Counter, pump
from jetcli.transfer.stream import SentStream, demand_unchanged, send_stream
from jetcli.xmpp.channel import Channel
from jetcli.xmpp.negotiation import Negotiation, SessionEnded
from jetcli.xmpp.phases import phase_over

#: How long the receiver may keep its side open after the last byte, before we close ours.
_DRAIN_S = 60.0


class Begun(Struct, frozen=True):
    """An active session: the content of its session-initiate, its secret, and the range that was agreed on.

    `prove` says that the receiver was asked to prove what it holds before the range.
    """

    negotiation: Negotiation
    offer: Content
    secret: TransportSecret
    agreed: Range = field(default_factory=Range)
    prove: bool = False


class Outbound(Struct, frozen=True):
    """What goes out, under which cipher; with `checksum` a digest of the whole file is announced afterwards.

    `written_back` is how many bytes the receiver's client sends against the stream, and `continued` says that it holds
    something from an earlier session. `anew` says that after a break we offer by ourselves what has not come.
    """

    id: str
    source: Origin
    cipher: Cipher
    checksum: bool = False
    hex_checksum: bool = False
    continued: bool = False
    written_back: int = 0
    anew: bool = False

    @property
    def between_jets(self) -> bool:
        """Whether the stream is chunked, which only jets understand."""
        return self.cipher is Cipher.CHUNKED


#: Offers or accepts, and returns once the session is active.
Begin = Callable[[], Awaitable[Begun]]


def nothing_missing(agreed: Range, size: int | None) -> bool:
    """Say whether the receiver has every byte; of an empty file it has none, and may not have published it."""
    return bool(size) and agreed.offset == size


class Outgoing:
    """One stream out of one source, to `peer` (full JID), which may change until the session has begun."""

    def __init__(self, online: Online, emit: Listener, peer: str, outbound: Outbound, mailbox: Mailbox) -> None:
        self._online = online
        self._emit = emit
        self._out = outbound
        self._name = shown(outbound.source.name)
        self.peer = peer
        self._mailbox = mailbox
        self._negotiation: Negotiation | None = None
        self._position = self._offset = 0
        self._flowing = False
        self._started = time.monotonic()
        #: Set by `begin` once there is something to record.
        self.journal: Journal | None = None

    async def run(self, begin: Begin) -> Outcome:
        """Begin the session, send, and wait for the confirmation; a failure is returned and not told."""
        try:
            sent = await self._send(await begin())
        except JetError as error:
            return self._failed(error)
        except SessionEnded as ended:
            failure = failure_of(ended.end, shown(self.peer), self._name, flowing=self._flowing)
            return self._failed(failure, ended.end)
        except BaseException:
            self._record_failure(kept=self._resumable)
            raise
        finally:
            self._mailbox.abandon = lambda: None
        if self.journal:
            self.journal.done()
        return self._done(sent)

    async def _send(self, begun: Begun) -> SentStream:
        negotiation = self._negotiation = self._mailbox.current = begun.negotiation
        self._offset = self._position = begun.agreed.offset
        if self._out.continued and nothing_missing(begun.agreed, self._out.source.size):
            return await self._nothing_missing(negotiation)
        if begun.prove:
            await self._prove(begun)
        self._emit(Phase("looking for a way", self._out.id))
        try:
            channel = await negotiation.take_channel()
        except SessionEnded as ended:
            if self._has_the_empty_file(ended.end):
                return SentStream(0, None)
            raise
        channel = self._online.throttle.slowed(channel)
        phase_over("candidates")
        self._mailbox.abandon = channel.abort
        assert negotiation.path is not None, "a channel has a path"
        self._emit(PathChosen(self._out.id, SEND, negotiation.path, negotiation.relay))
        self._flowing = True
        negotiation.first_byte()
        if self.journal:
            self.journal.active()
        try:
            sent = await self._whole(begun, await self._pump(channel, begun))
            await self._confirmed(negotiation, channel, sent)
            return sent
        except InterruptedTransferError:
            await last_word(negotiation)
            raise
        finally:
            channel.close()

    async def _prove(self, begun: Begun) -> None:
        """Let the receiver prove that it holds the beginning of our source, and vouch for the source from now on."""
        self._emit(Phase("comparing what both sides hold", self._out.id))
        source = self._out.source
        assert isinstance(source, Source), "only what can be read again is continued"
        await demand_prefix(self._online, begun.negotiation, begun.secret, source, begun.agreed.offset)
        if self.journal:
            self.journal.source_is(source)

    async def _nothing_missing(self, negotiation: Negotiation) -> SentStream:
        """End a session that found the receiver with the whole file: no byte is sent."""
        if not negotiation.session.initiator:
            negotiation.terminate("success")
        negotiation.await_confirmation()
        end = await asyncio.shield(negotiation.ended)
        if end.error is not None or end.reason.condition != "success":
            raise SessionEnded(end)
        return SentStream(0, None)

    def _has_the_empty_file(self, end: Ended) -> bool:
        """Say whether the receiver ended the session since it had published an empty file before."""
        succeeded = end.by_peer and end.refusal is None and end.reason.condition == "success"
        return succeeded and self._out.continued and self._out.source.size == 0

    async def _pump(self, channel: Channel, begun: Begun) -> SentStream:
        out, agreed = self._out, begun.agreed
        transcript = self._transcript(begun) if out.between_jets else None

        turn = Turn()

        def work(counter: Counter, stop: threading.Event) -> SentStream:
            turn.begin()

            def moved(position: int) -> None:
                if counter.position == agreed.offset:
                    phase_over("first byte")
                counter.set(position)

            return send_stream(
                channel,
                out.source,
                out.cipher,
                begun.secret,
                transcript=transcript,
                size=out.source.size,
                offset=agreed.offset,
                length=agreed.length,
                progress=moved,
                stop=stop,
                hasher=out.checksum and not agreed.offset,
                written_back=out.written_back if begun.negotiation.path is PathKind.PROXY else 0,
            )

        local = (turn, out.source, self._online.throttle)
        patience = Patience(begun.negotiation, channel, *local, idle_s=self._online.network.idle_s)

        def progress(position: int) -> None:
            self._position = position
            if out.between_jets:
                patience.look()
            self._emit(Progress(out.id, SEND, position, out.source.size, agreed.offset))

        ended = begun.negotiation.ended
        both = BothEnds(channel, out.source)
        return await pump(self._online.pool, both, work, progress, ended=ended, start=agreed.offset)

    async def _whole(self, begun: Begun, sent: SentStream) -> SentStream:
        """Return a stream that was only the rest with the digest of the whole source, where that was promised."""
        if not (self._out.checksum and begun.agreed.offset):
            return sent
        source = self._out.source
        assert isinstance(source, Source), "only what can be read again is continued"
        self._emit(Phase("hashing what was sent before", self._out.id))
        sha256 = await digest_of(self._online, source, source.size, begun.negotiation)
        demand_unchanged(source)
        return replace(sent, sha256=sha256)

    def _transcript(self, begun: Begun) -> bytes:
        session = begun.negotiation.session
        initiator, responder = (self._online.jid, self.peer) if session.initiator else (self.peer, self._online.jid)
        agreed = begun.agreed if begun.agreed != Range() else None
        transcript = Transcript.of(
            begun.offer, sid=session.sid, initiator=initiator, responder=responder, agreed=agreed
        )
        return transcript.digest()

    async def _confirmed(self, negotiation: Negotiation, channel: Channel, sent: SentStream) -> None:
        """Announce the checksum, then drain what the peer writes back until it ends the session with success."""
        if sent.sha256 is not None:
            negotiation.inform(checksum(sent.sha256, hex_text=self._out.hex_checksum))
        self._emit(Phase("waiting for the confirmation", self._out.id))
        negotiation.await_confirmation()
        draining = asyncio.get_running_loop().run_in_executor(self._online.finishing, channel.drain, _DRAIN_S)
        try:
            end = await asyncio.shield(negotiation.ended)
        finally:
            channel.abort()
            await asyncio.wait({draining})
            draining.exception()  # seen: what came back, or how it broke, is of no interest
        if end.error is not None or end.reason.condition != "success":
            raise SessionEnded(end)

    # Ends.

    def _done(self, sent: SentStream) -> FileDone:
        done = FileDone(
            self._out.id,
            SEND,
            self._out.source.name,
            None,
            self._offset + sent.length,
            time.monotonic() - self._started,
            "chunks" if self._out.between_jets else "tag",
            sent.sha256.hex() if sent.sha256 else None,
        )
        self._emit(done)
        return done

    def _failed(self, error: JetError, end: Ended | None = None) -> Broken:
        if self._negotiation:
            self._negotiation.end_for(self._reason(error))
        kept = self._resumable and not isinstance(error, DeclinedError | NotResumableError | LocalFileError)
        self._record_failure(kept=kept)
        moved = self._position > self._offset
        goes_on = kept or (self._out.anew and self._flowing)
        return Broken(error, kept=kept, transient=goes_on and is_transient(error, end), moved=moved)

    def _reason(self, error: JetError) -> Reason:
        """Return what the peer hears; a jet also hears whether what it holds has become of no use."""
        source, jets = self._out.source, self._out.between_jets
        if jets and isinstance(error, LocalFileError) and isinstance(source, Source) and source.superseded():
            return Reason("failed-application", "the file changed while it was sent", SOURCE_CHANGED)
        return reason_for(error)

    @property
    def _resumable(self) -> bool:
        return self._out.source.resumable and self._out.between_jets and (self._flowing or self._out.continued)

    def _record_failure(self, *, kept: bool) -> None:
        if self.journal:
            self.journal.failed(kept=kept)


SEND: Direction = "send"
