"""Sending files: from a path to the receiver's confirmation, one after the other."""

import asyncio
import mimetypes
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jetcli.errors import InterruptedTransferError, JetError, UnsupportedError
from jetcli.files.source import Source
from jetcli.protocol.checksum import checksum
from jetcli.protocol.model import (
    IV_SIZE,
    Cipher,
    Content,
    Device,
    FileDescription,
    InbandTransport,
    Range,
    Transport,
    TransportSecret,
    Trust,
)
from jetcli.protocol.offer import cipher_for, file_offer
from jetcli.protocol.policy import GCM_LIMIT, shown
from jetcli.protocol.transcript import Transcript
from jetcli.transfer.account import Online
from jetcli.transfer.events import (
    Accepted,
    FileDone,
    FileFailed,
    Listener,
    Offered,
    PathChosen,
    PeerFound,
    Phase,
    Progress,
)
from jetcli.transfer.journal import Journal, new_transfer_id
from jetcli.transfer.options import SendOptions
from jetcli.transfer.outcome import failure_of, reason_for
from jetcli.transfer.peer import Peer, find_peer
from jetcli.transfer.pump import Counter, pump
from jetcli.transfer.stream import SentStream, send_stream
from jetcli.xmpp.jingle import BLOCK_SIZE
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

#: After a broken connection the peer's own reason may still be on its way.
_LAST_WORD_S = 1.0
#: How long the receiver may keep its side open after the last byte, before we close ours.
_DRAIN_S = 60.0


async def send_files(
    online: Online, paths: Sequence[Path], to: str, options: SendOptions, emit: Listener
) -> list[FileDone | FileFailed]:
    """Send each file to `to` (bare or full JID) and return how each of them ended, in their order.

    Files that cannot be read are found before anything is sent. Raises what `find_peer` raises, and LocalFileError.
    """
    for path in paths:
        Source.open(path, options.name).close()
    peer = await find_peer(online, to, wait_s=options.wait_s)
    results: list[FileDone | FileFailed] = []
    for path in paths:
        with Source.open(path, options.name) as source:
            results.append(await _Sending(online, peer, source, options, emit).run())
    return results


def weakest(devices: Iterable[Device]) -> Trust:
    """Return the trust of the least trusted of the devices that something was sealed for."""
    return Trust.BLIND if any(device.trust is Trust.BLIND for device in devices) else Trust.VERIFIED


class _Sending:
    """One file on its way to one peer."""

    def __init__(self, online: Online, peer: Peer, source: Source, options: SendOptions, emit: Listener) -> None:
        self._online = online
        self._peer = peer
        self._source = source
        self._options = options
        self._emit = emit
        self._id = new_transfer_id(online.transfers)
        self._name = shown(source.name)
        self._cipher = cipher_for(peer.abilities)
        self._secret = TransportSecret(secrets.token_bytes(self._cipher.key_size), secrets.token_bytes(IV_SIZE))
        self._flowing = False

    @property
    def _between_jets(self) -> bool:
        return self._cipher is Cipher.CHUNKED

    @property
    def _with_checksum(self) -> bool:
        return self._options.checksum or not self._between_jets

    async def run(self) -> FileDone | FileFailed:
        """Send the file; a failure is returned and told, not raised."""
        quirks = self._peer.abilities.quirks
        terms = self._online.terms(self._peer.jid, quirks.client)
        negotiation = self._online.jingle.negotiate(self._peer.jid, terms)
        journal: Journal | None = None
        started = time.monotonic()
        try:
            content = await self._offer(negotiation)
            journal = self._begin_journal(negotiation, content)
            sent = await self._transfer(negotiation, content, journal)
        except JetError as error:
            return self._failed(negotiation, journal, error)
        except SessionEnded as end:
            return self._failed(negotiation, journal, self._end_error(end))
        except BaseException:
            if journal:
                journal.failed(kept=self._between_jets and self._flowing)
            raise
        finally:
            await negotiation.close()
        journal.done()
        done = FileDone(
            self._id,
            "send",
            self._source.name,
            None,
            sent.length,
            time.monotonic() - started,
            "chunks" if self._between_jets else "tag",
            sent.sha256.hex() if sent.sha256 else None,
        )
        self._emit(done)
        return done

    def _end_error(self, ended: SessionEnded) -> JetError:
        return failure_of(ended.end, shown(self._peer.jid), self._name, flowing=self._flowing)

    def _failed(self, negotiation: Negotiation, journal: Journal | None, error: JetError) -> FileFailed:
        reason = reason_for(error)
        negotiation.terminate(reason.condition, reason.text)
        resumable = self._between_jets and self._flowing and isinstance(error, InterruptedTransferError)
        if journal:
            journal.failed(kept=resumable)
        failed = FileFailed(self._id, "send", self._source.name, error, resumable)
        self._emit(failed)
        return failed

    # The offer.

    async def _offer(self, negotiation: Negotiation) -> Content:
        """Seal the secret and offer the file."""
        if not self._between_jets and self._source.size > GCM_LIMIT:
            raise UnsupportedError(
                f"'{self._name}' is too large for {shown(self._peer.jid)}: its cipher takes 64 GiB at most"
            )
        sealing = self._online.omemo.seal(
            self._secret, self._peer.bare_jid, blank_payload=self._peer.abilities.quirks.blank_payload
        )
        (envelope, devices), transport = await asyncio.gather(sealing, self._transport(negotiation))
        self._emit(
            PeerFound(
                self._peer.jid,
                self._peer.client,
                weakest(devices),
                self._between_jets,
                self._peer.abilities.resumes,
            )
        )
        content = file_offer(f"ft-{secrets.token_hex(4)}", self._description(), transport, self._cipher, envelope)
        negotiation.initiate(content)
        file = self._description()
        self._emit(
            Offered(self._id, "send", self._peer.jid, self._source.name, file.size, file.media_type, self._between_jets)
        )
        return content

    def _description(self) -> FileDescription:
        modified = datetime.fromtimestamp(int(self._source.mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return FileDescription(
            name=self._source.name,
            size=self._source.size,
            media_type=mimetypes.guess_type(self._source.name)[0] or "application/octet-stream",
            date=modified,
            desc=None if self._between_jets else "",  # Libervia takes no offer without the element
            range=Range(),
            hash_used="sha-256" if self._with_checksum else None,
        )

    async def _transport(self, negotiation: Negotiation) -> Transport:
        able, path = self._peer.abilities, self._online.network.path
        if path == "ibb" or not able.socks5:
            if not able.inband:
                raise UnsupportedError(f"{shown(self._peer.jid)} takes no in-band transfers")
            return InbandTransport(secrets.token_hex(8), BLOCK_SIZE)
        return await negotiation.candidates.offer(secrets.token_hex(8), await self._online.proxies())

    def _begin_journal(self, negotiation: Negotiation, content: Content) -> Journal:
        assert content.description is not None, "we have just described it"
        return Journal.begin(
            self._online.transfers,
            self._id,
            direction="send",
            sid=negotiation.session.sid,
            peer=self._peer.bare_jid,
            file=content.description,
            path=self._source.path,
            chunked=self._between_jets,
            source=self._source,
        )

    # The bytes.

    async def _transfer(self, negotiation: Negotiation, content: Content, journal: Journal) -> SentStream:
        self._emit(Phase(f"waiting for {shown(self._peer.jid)} to accept", self._id))
        await negotiation.accepted
        self._emit(Accepted(self._id, "send"))
        self._emit(Phase("looking for a way", self._id))
        channel = await negotiation.channel
        assert negotiation.path is not None, "a channel has a path"
        self._emit(PathChosen(self._id, "send", negotiation.path, negotiation.relay))
        transcript = Transcript.of(
            content, sid=negotiation.session.sid, initiator=self._online.jid, responder=self._peer.jid
        )
        self._flowing = True
        negotiation.first_byte()
        journal.active()

        def work(counter: Counter, stop: threading.Event) -> SentStream:
            return send_stream(
                channel,
                self._source,
                self._cipher,
                self._secret,
                transcript=transcript.digest() if self._between_jets else None,
                size=self._source.size,
                progress=counter.set,
                stop=stop,
                hasher=self._with_checksum,
            )

        try:
            sent = await pump(self._online.pool, channel, work, self._progress, ended=negotiation.ended)
            await self._confirmed(negotiation, sent)
            return sent
        except InterruptedTransferError:
            await self._last_word(negotiation)
            raise
        finally:
            channel.close()

    def _progress(self, position: int) -> None:
        self._emit(Progress(self._id, "send", position, self._source.size))

    async def _last_word(self, negotiation: Negotiation) -> None:
        """Wait a moment for the peer's own reason of a broken stream, and raise that instead."""
        await asyncio.wait({negotiation.ended}, timeout=_LAST_WORD_S)
        if negotiation.ended.done() and negotiation.ended.result().by_peer:
            raise SessionEnded(negotiation.ended.result())

    async def _confirmed(self, negotiation: Negotiation, sent: SentStream) -> None:
        """Announce the checksum, then drain what the peer writes back until it ends the session with success."""
        if self._with_checksum and sent.sha256 is not None:
            negotiation.inform(checksum(sent.sha256, hex_text=self._peer.abilities.quirks.hex_checksum))
        self._emit(Phase("waiting for the confirmation", self._id))
        negotiation.await_confirmation()
        channel = negotiation.channel.result()
        draining = asyncio.get_running_loop().run_in_executor(self._online.pool, channel.drain, _DRAIN_S)
        try:
            end = await asyncio.shield(negotiation.ended)
        finally:
            channel.abort()
            await asyncio.wait({draining})
            draining.exception()  # seen: what came back, or how it broke, is of no interest
        if end.error is not None or end.reason.condition != "success":
            raise SessionEnded(end)
