"""One accepted file on its way in: the part file, the stream, the checksum, and the publish order.

The order is the promise: exact byte count, tag or final chunk, checksum where one was promised, fsync, mode, link
without replacing, fsync of the directory, `<received/>`, session-terminate. Only then is the file done.
"""

import asyncio
import threading
import time
from datetime import datetime
from pathlib import Path

from jetcli.errors import IntegrityError, InterruptedTransferError, JetError
from jetcli.files.sink import Sink
from jetcli.protocol.checksum import proves
from jetcli.protocol.model import InbandTransport, PathKind, Ping, Received, Transport
from jetcli.protocol.offer import acceptance
from jetcli.protocol.policy import shown
from jetcli.protocol.transcript import Transcript
from jetcli.transfer.account import Online
from jetcli.transfer.admission import Admitted
from jetcli.transfer.events import (
    FileDone,
    FileFailed,
    Listener,
    PathChosen,
    Phase,
    Progress,
    Verification,
    Warned,
)
from jetcli.transfer.journal import Journal
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.outcome import failure_of, reason_for
from jetcli.transfer.pump import Counter, pump
from jetcli.transfer.stream import ReceivedStream, receive_stream
from jetcli.xmpp.channel import Channel
from jetcli.xmpp.jingle import BLOCK_SIZE
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

#: How long a promised checksum is waited for after the tag.
CHECKSUM_S = 5.0
#: How often a receiver that is hashing or publishing says that it is alive.
_ALIVE_S = 15.0


class Reception:
    """One admitted and agreed offer; `name` is where it goes inside the admitted directory."""

    def __init__(
        self,
        online: Online,
        options: ReceiveOptions,
        emit: Listener,
        *,
        negotiation: Negotiation,
        admitted: Admitted,
        transfer_id: str,
        name: str,
    ) -> None:
        self._online = online
        self._options = options
        self._emit = emit
        self._negotiation = negotiation
        self._admitted = admitted
        self._id = transfer_id
        self._name = name
        self._peer = negotiation.session.peer
        self._flowing = False
        self._started = time.monotonic()

    async def run(self) -> FileDone | FileFailed:
        """Receive the file and publish it; a failure is told and returned. Raises LocalFileError before the accept."""
        sink = Sink.create(
            self._admitted.directory,
            self._name,
            self._id,
            size=self._admitted.size,
            on_exist=self._options.on_exist,
            output=self._options.output is not None,
        )
        journal = self._begin_journal(sink)
        try:
            return await self._receive(sink, journal)
        except JetError as error:
            return self._failed(sink, journal, error)
        except SessionEnded as ended:
            failure = failure_of(ended.end, shown(self._peer), shown(self._name), flowing=self._flowing)
            return self._failed(sink, journal, failure)
        except BaseException:
            self._leave(sink, journal, keep=self._resumable())
            raise

    async def _receive(self, sink: Sink, journal: Journal) -> FileDone:
        self._negotiation.accept(acceptance(self._admitted.offer.content, await self._transport()))
        self._emit(Phase("looking for a way", self._id))
        channel = await self._negotiation.channel
        path = self._negotiation.path
        assert path is not None, "a channel has a path"
        self._emit(PathChosen(self._id, "receive", path, self._negotiation.relay))
        self._flowing = True
        self._negotiation.first_byte()
        journal.active()
        sink.sync_in_background(lambda synced: journal.synced(sink.position, synced))
        try:
            received = await self._pump(channel, sink, path)
            verified = await self._check(received)
            published = await self._publish(sink)
            journal.done()
            self._negotiation.inform(Received())
            self._negotiation.terminate("success")
        except InterruptedTransferError:
            await asyncio.wait({self._negotiation.ended}, timeout=1.0)
            if self._negotiation.ended.done() and self._negotiation.ended.result().by_peer:
                raise SessionEnded(self._negotiation.ended.result()) from None
            raise
        finally:
            channel.close()
        return self._done(published, received, verified)

    async def _transport(self) -> Transport:
        """Return our side of the offered transport; our addresses are gathered only now, after consent."""
        offered = self._admitted.offer.transport
        if isinstance(offered, InbandTransport):
            return InbandTransport(offered.sid, min(offered.block_size, BLOCK_SIZE))
        proxies = await self._online.proxies()
        return await self._negotiation.candidates.offer(offered.sid, proxies, taken=offered.candidates)

    async def _pump(self, channel: Channel, sink: Sink, path: PathKind) -> ReceivedStream:
        admitted, loop = self._admitted, asyncio.get_running_loop()
        transcript = None
        if admitted.between_jets:
            transcript = Transcript.of(
                admitted.offer.content,
                sid=self._negotiation.session.sid,
                initiator=self._peer,
                responder=self._online.jid,
            ).digest()

        def tail_stalled(_missing: int) -> None:
            # A proxy holds the last bytes back until the sender closes, and the sender waits for our end.
            loop.call_soon_threadsafe(self._negotiation.terminate, "success")

        def work(counter: Counter, stop: threading.Event) -> ReceivedStream:
            return receive_stream(
                channel,
                sink,
                admitted.offer.cipher,
                admitted.secret,
                transcript=transcript,
                size=admitted.size,
                progress=counter.set,
                stop=stop,
                hasher=admitted.offer.promises_checksum,
                tail_stalled=None if admitted.between_jets or path is not PathKind.PROXY else tail_stalled,
                name=shown(self._name),
            )

        return await pump(self._online.pool, channel, work, self._progress, ended=self._negotiation.ended)

    def _progress(self, position: int) -> None:
        self._emit(Progress(self._id, "receive", position, self._admitted.size))

    async def _check(self, received: ReceivedStream) -> Verification:
        """Compare the promised checksum; say what has been verified.

        Raises IntegrityError where it differs, or where a jet promised one and sent none.
        """
        proof: Verification = "chunks" if self._admitted.between_jets else "tag"
        if received.sha256 is None:
            return proof
        self._emit(Phase("waiting for the checksum", self._id))
        await asyncio.wait({self._negotiation.checksum}, timeout=CHECKSUM_S)
        hashes = self._negotiation.checksum.result().hashes if self._negotiation.checksum.done() else ()
        agrees = proves(hashes, sha256=received.sha256, wire_sha256=received.wire_sha256)
        name = shown(self._name)
        if agrees is False:
            raise IntegrityError(f"'{name}' does not match the announced checksum; nothing was saved")
        if agrees is None and self._admitted.between_jets:
            raise IntegrityError(f"the promised checksum of '{name}' did not come; nothing was saved")
        if agrees is None:
            self._emit(Warned(f"{shown(self._peer)} announced no usable checksum of '{name}'", self._id))
            return proof
        return "chunks+checksum" if self._admitted.between_jets else "tag+checksum"

    async def _publish(self, sink: Sink) -> Path:
        """Publish the verified file, telling the peer now and then that we are alive."""
        loop = asyncio.get_running_loop()
        publishing = loop.run_in_executor(self._online.pool, sink.publish, _mtime(self._admitted.offer.file.date))
        while not publishing.done():
            await asyncio.wait({publishing}, timeout=_ALIVE_S)
            if not publishing.done():
                self._negotiation.inform(Ping())
        return publishing.result()

    # Ends.

    def _done(self, path: Path, received: ReceivedStream, verified: Verification) -> FileDone:
        sha256 = received.sha256.hex() if received.sha256 else None
        seconds = time.monotonic() - self._started
        done = FileDone(self._id, "receive", path.name, path, received.length, seconds, verified, sha256)
        self._emit(done)
        return done

    def _failed(self, sink: Sink, journal: Journal, error: JetError) -> FileFailed:
        keep = self._resumable() and not isinstance(error, IntegrityError)
        self._leave(sink, journal, keep=keep or (self._resumable() and sink.position > 0))
        reason = reason_for(error)
        self._negotiation.terminate(reason.condition, reason.text)
        failed = FileFailed(self._id, "receive", self._name, error, keep)
        self._emit(failed)
        return failed

    def _resumable(self) -> bool:
        return self._admitted.between_jets and self._flowing

    def _leave(self, sink: Sink, journal: Journal, *, keep: bool) -> None:
        """Keep the verified bytes for another session, or remove the part."""
        if not keep and not self._options.keep_partial:
            sink.discard()
            journal.failed(kept=False)
            return
        synced = sink.keep()
        journal.synced(sink.position, synced)
        journal.failed(kept=keep)

    def _begin_journal(self, sink: Sink) -> Journal:
        return Journal.begin(
            self._online.transfers,
            self._id,
            direction="receive",
            sid=self._negotiation.session.sid,
            peer=self._peer.partition("/")[0],
            file=self._admitted.offer.file,
            path=self._admitted.directory,
            chunked=self._admitted.between_jets,
            device=self._admitted.opened.device,
            part=sink.part,
            part_inode=sink.part_inode,
        )


def _mtime(date: str | None) -> float | None:
    """Return the time that a `<date/>` means (XEP-0082), or None where it means none."""
    if date is None:
        return None
    try:
        return datetime.fromisoformat(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
