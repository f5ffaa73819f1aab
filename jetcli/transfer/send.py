"""Sending files: from a path to the receiver's confirmation, one after the other."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from jetcli.errors import (
    JetError,
    LocalFileError,
    UnavailableError,
    UnsupportedError,
)
from jetcli.files.source import STDIN, Origin, Source, check_sendable
from jetcli.protocol.model import Batch, Cipher, FileDescription, Range
from jetcli.protocol.offer import cipher_for
from jetcli.protocol.policy import GCM_LIMIT, shown
from jetcli.transfer import origins
from jetcli.transfer.account import Online
from jetcli.transfer.bundling import Bundling, small_files
from jetcli.transfer.delivery import Delivery
from jetcli.transfer.events import (
    Accepted,
    FileDone,
    FileFailed,
    Listener,
    Offered,
    Phase,
    Waiting,
    Warned,
)
from jetcli.transfer.journal import Journal, Noted, history_of, new_transfer_id
from jetcli.transfer.offering import Offering, date_of, media_type_of
from jetcli.transfer.options import SendOptions
from jetcli.transfer.outcome import Outcome, failed
from jetcli.transfer.outgoing import Begun, Outbound, Outgoing
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer, find_peer
from jetcli.transfer.persistence import persist
from jetcli.transfer.repeated import Repeated
from jetcli.transfer.serve import Serving
from jetcli.xmpp.phases import phase_over


async def send_files(
    online: Online, paths: Sequence[Path], to: str, options: SendOptions, emit: Listener
) -> list[FileDone | FileFailed]:
    """Send each file to `to` (bare or full JID) and return how each of them ended, in their order.

    Files that cannot be read are found before anything is sent. Raises what `find_peer` raises, and LocalFileError.
    """
    for path in paths:
        check_sendable(path, options.name)
    with Repeated(online, to.partition("/")[0], paths, options.name, emit) as repeated:
        peer = await find_peer(online, to, wait_s=options.wait_s, transfer=repeated.first_sid)
        phase_over("disco")
        async with Serving(online, emit):
            return await _send_each(online, peer, paths, options, emit, to=to, repeated=repeated)


async def _send_each(
    online: Online,
    peer: Peer,
    paths: Sequence[Path],
    options: SendOptions,
    emit: Listener,
    *,
    to: str,
    repeated: Repeated,
) -> list[FileDone | FileFailed]:
    together = len(paths) > 1 and peer.abilities.batches
    batch = Batch(secrets.token_hex(8), 0, len(paths)) if together else None
    results: list[FileDone | FileFailed] = []
    singly = not peer.abilities.bundles
    while len(results) < len(paths):
        number, path = len(results) + 1, paths[len(results)]
        member = replace(batch, index=number) if batch else None
        small = [] if singly or member is None else small_files(paths[number - 1 :], repeated.paths)
        if len(small) > 1 and member is not None:
            bundling = Bundling(online, peer, small, options, emit, to=to, batch=member)
            ended = await bundling.run()
            results, peer, singly = [*results, *ended], bundling.peer, len(ended) < len(small)
            continue
        try:
            result = await repeated.go_on(peer, path)
            if result is None:
                # Who was found may only continue what it knows.
                peer = peer if peer.abilities.receives else await find_peer(online, to, wait_s=options.wait_s)
                result, peer = await _send_one(online, peer, path, options, emit, batch=member)
            results.append(result)
        except (LocalFileError, UnavailableError, UnsupportedError) as error:
            results.append(FileFailed(None, "send", path.name, error))
            emit(results[-1])
    return results


async def _send_one(
    online: Online, peer: Peer, path: Path, options: SendOptions, emit: Listener, *, batch: Batch | None
) -> tuple[FileDone | FileFailed, Peer]:
    """Send what `path` names, and return who took it too; raises LocalFileError where it cannot be opened any more."""
    streams = peer.abilities.chunked
    async with origins.opened(path, options, streams=streams, peer=peer.jid, emit=emit) as origin:
        sending = _Sending(online, peer, origin, options, emit, path=path, batch=batch)
        return await sending.run(), sending.peer


class _Sending:
    """One file on its way to one peer, by our own offer; `peer` is the one that could open it in the end."""

    def __init__(
        self,
        online: Online,
        peer: Peer,
        source: Origin,
        options: SendOptions,
        emit: Listener,
        *,
        path: Path,
        batch: Batch | None,
    ) -> None:
        self._online = online
        self._path = path
        self._source = source
        self._emit = emit
        cipher = cipher_for(peer.abilities)
        self._out = Outbound(
            id=new_transfer_id(online.transfers),
            source=source,
            cipher=cipher,
            checksum=options.checksum or cipher is not Cipher.CHUNKED,
            hex_checksum=peer.abilities.quirks.hex_checksum,
            written_back=peer.abilities.quirks.written_back,
        )
        self._offering = Offering(
            online, peer, emit, out=self._out, file=self._description(), offered=self._tell_offer, batch=batch
        )

    @property
    def peer(self) -> Peer:
        """Who the file goes to: the first asked, or another jet of the account."""
        return self._offering.peer

    async def run(self) -> FileDone | FileFailed:
        """Offer and send the file; a failure is returned and told, not raised."""
        with self._online.ownership.own(self._out.id) as mailbox:
            try:
                outcome = await self._persist(mailbox)
            finally:
                await self._offering.close()
                await mailbox.close()
        if isinstance(outcome, FileDone):
            return outcome
        event = failed(outcome, self._out.id, "send", self._source.name)
        self._emit(event)
        return event

    async def _persist(self, mailbox: Mailbox) -> Outcome:
        """Send, and go on by our own offer or the peer's request where the line breaks."""
        outgoing = Outgoing(self._online, self._emit, self.peer.jid, self._out, mailbox)
        rest = Delivery(self._online, self._emit, self._out.id, mailbox)
        rest.eager = True

        async def begin() -> Begun:
            try:
                begun = await self._begin()
            finally:
                outgoing.peer = rest.before = self.peer.jid
            outgoing.journal = self._begin_journal(begun)
            self._emit(Accepted(self._out.id, "send"))
            return begun

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            self._emit(Waiting(self._out.id, "send", error, attempt, pause_s))

        return await persist(
            outgoing.run(begin),
            mailbox=mailbox,
            answer=rest.answer,
            again=rest.offer,
            retries=self._online.network.retries,
            tell=tell,
        )

    async def _begin(self) -> Begun:
        """Offer the file until it is accepted; raises UnsupportedError for more than the cipher takes."""
        if not self._out.between_jets and (self._source.size or 0) > GCM_LIMIT:
            name, peer = shown(self._source.name), shown(self.peer.jid)
            raise UnsupportedError(f"'{name}' is too large for {peer}: its cipher takes 64 GiB at most")
        return await self._offering.accepted()

    def _description(self) -> FileDescription:
        return FileDescription(
            name=self._source.name,
            size=self._source.size,
            media_type=media_type_of(self._source.name),
            date=date_of(self._source.mtime),
            desc=None if self._out.between_jets else "",  # Libervia takes no offer without the element
            range=Range() if self._source.resumable or not self._out.between_jets else None,
            hash_used="sha-256" if self._out.checksum else None,
        )

    def _tell_offer(self) -> None:
        source, out = self._source, self._out
        kind, goes_on = media_type_of(source.name), out.between_jets and source.resumable
        self._emit(Offered(out.id, "send", self.peer.jid, source.name, source.size, kind, goes_on))
        quirks = self.peer.abilities.quirks
        if quirks.asks_from is not None and (source.size or 0) >= quirks.asks_from:
            self._emit(
                Warned(f"{quirks.client} asks its user about a file of this size; somebody has to click", out.id)
            )
        self._emit(Phase(f"waiting for {shown(self.peer.jid)} to accept", out.id))

    def _begin_journal(self, begun: Begun) -> Journal:
        if not isinstance(self._source, Source):
            path = self._path if self._path == STDIN else self._path.absolute()
            name, size, peer = self._source.name, self._source.size, self.peer.bare_jid
            record = history_of(self._out.id, "send", peer, name=name, size=size, path=path)
            return Noted(self._online.transfers, self._out.id, record, self._emit)
        return Journal.begin(
            self._online.transfers,
            self._out.id,
            direction="send",
            sid=begun.negotiation.session.sid,
            peer=self.peer.bare_jid,
            file=self._description(),
            path=self._source.path,
            chunked=self._out.between_jets,
            devices=self._offering.devices,
            source=self._source,
        )
