"""The rest of a file that we send: by our own offer, or because the receiver asks for it.

Everything comes from the record of the transfer, so that it does not matter whether the process that began it is still
alive. The source has to be what it was: by its identity, or by a proof of what the receiver holds.
"""

import secrets
from pathlib import Path

from jetcli.errors import JetError, LocalFileError, NotResumableError
from jetcli.files.source import Source
from jetcli.protocol.model import (
    IV_SIZE,
    SOURCE_CHANGED,
    Cipher,
    Content,
    FileDescription,
    Range,
    TransportSecret,
)
from jetcli.protocol.offer import acceptance, check_acceptance, file_offer
from jetcli.protocol.policy import shown
from jetcli.protocol.ranges import rest_of
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.admission import admit_continuation
from jetcli.transfer.continuation import Continuation, demand_known
from jetcli.transfer.events import Phase
from jetcli.transfer.journal import Journal, recorded
from jetcli.transfer.outcome import Outcome, is_transient, reason_for
from jetcli.transfer.outgoing import Begun, Outbound, Outgoing, nothing_missing
from jetcli.transfer.peer import Peer
from jetcli.transfer.ways import accepted_transport, no_transport, offered_transport
from jetcli.xmpp.negotiation import Negotiation


class Delivery(Continuation):
    """One recorded file on its way to one peer."""

    async def offer(self) -> Outcome:
        """Offer the rest to the peer's devices, one after the other, until one knows the transfer."""
        record = self._online.transfers.get(self._id)
        try:
            source = _opened(record)
        except JetError as error:
            return self._broken(error, transient=is_transient(error, None))

        async def send(peer: Peer, negotiation: Negotiation) -> Outcome:
            begun = await self._accepted(record, source, peer, negotiation)

            async def begin() -> Begun:
                return begun

            return await self._outgoing(record, peer.jid, source).run(begin)

        with source:
            return await self._ask(record, send)

    async def answer(self, negotiation: Negotiation) -> Outcome:
        """Send the rest that the receiver asks for, if it is the receiver of this transfer."""
        record = self._online.transfers.get(self._id)
        self._mailbox.current = negotiation
        try:
            judged, secret = await admit_continuation(self._online, record, negotiation, request=True)
            with _opened(record) as source:
                agreed = rest_of(judged.file.range, source.size)
                prove = _must_prove(record, source) and agreed.offset > 0
                outgoing = self._outgoing(record, negotiation.session.peer, source)

                async def begin() -> Begun:
                    complete = nothing_missing(agreed, source.size)
                    transport = (
                        no_transport(judged.transport)
                        if complete
                        else await accepted_transport(self._online, negotiation, judged.transport)
                    )
                    negotiation.accept(acceptance(judged.content, transport, agreed=agreed, prove=prove))
                    return Begun(negotiation, judged.content, secret, agreed, prove)

                return await outgoing.run(begin)
        except JetError as error:
            negotiation.end_for(reason_for(error))
            return self._broken(error, transient=False)
        finally:
            self.before = negotiation.session.peer
            await negotiation.close()

    async def _accepted(self, record: TransferRecord, source: Source, peer: Peer, negotiation: Negotiation) -> Begun:
        """Offer the rest under a fresh secret, and return once it is agreed where to go on."""
        secret = TransportSecret(secrets.token_bytes(Cipher.CHUNKED.key_size), secrets.token_bytes(IV_SIZE))
        envelope, devices = await self._online.omemo.seal(secret, record.peer)
        demand_known(record, devices)
        transport = await offered_transport(self._online, peer, negotiation)
        prove = _must_prove(record, source)
        name = f"ft-{secrets.token_hex(4)}"
        content = file_offer(
            name, _description(record), transport, Cipher.CHUNKED, envelope, transfer=record.first_sid, prove=prove
        )
        self._emit(Phase(f"offering the rest of {shown(record.name)} to {shown(peer.jid)}", self._id))
        negotiation.initiate(content)
        accepted = await negotiation.accepted
        check_acceptance(content, accepted, record.peer)
        agreed = rest_of(_range(accepted), source.size)
        return Begun(negotiation, content, secret, agreed, prove and agreed.offset > 0)

    def _outgoing(self, record: TransferRecord, peer: str, source: Source) -> Outgoing:
        outbound = Outbound(id=self._id, source=source, cipher=Cipher.CHUNKED, checksum=record.checksum, continued=True)
        outgoing = Outgoing(self._online, self._emit, peer, outbound, self._mailbox)
        outgoing.journal = Journal(self._online.transfers, self._id)
        return outgoing


def _opened(record: TransferRecord) -> Source:
    """Open the source of a transfer; raise NotResumableError where it cannot be the same any more.

    Raises LocalFileError where it cannot be read: it may be on a drive that is not there now, and is not given up.
    """
    try:
        source = Source.open(Path(record.path), record.name)
    except LocalFileError as error:
        error.told = "the file cannot be read there at the moment"
        raise
    known, now = record.source, source.identity
    if known is None or (known.size, known.mtime_ns) != (now.size, now.mtime_ns):
        source.close()
        raise NotResumableError(
            f"'{shown(record.path)}' has changed since its transfer began; it has to start again",
            application=SOURCE_CHANGED,
            hint=f"jet send {shown(record.path)} {shown(record.peer)}",
        )
    return source


def _must_prove(record: TransferRecord, source: Source) -> bool:
    """Say whether we cannot vouch for the source: its size and time are the same, and something else is not."""
    return record.source != recorded(source.identity)


def _description(record: TransferRecord) -> FileDescription:
    return FileDescription(
        name=record.name, size=record.size, media_type=record.media_type, date=record.date, range=Range()
    )


def _range(content: Content) -> Range | None:
    return content.description.range if content.description else None
