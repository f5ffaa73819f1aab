"""Sharing: answers requests for whole files or ranges of them, by name or by sha-256 (XEP-0391 section 4.2).

Whoever may not ask gets the same answer as whoever asks for what is not shared. What is sent is recorded, so that a jet
that asked can ask for the rest.
"""

import asyncio
import threading
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from jetcli.errors import DeclinedError, JetError
from jetcli.files.digest import prefix_sha256
from jetcli.files.source import Source
from jetcli.protocol.device import Device
from jetcli.protocol.model import Cipher, FileDescription, Range, TransportSecret
from jetcli.protocol.offer import JudgedOffer, acceptance, judge
from jetcli.protocol.policy import shown
from jetcli.protocol.ranges import span
from jetcli.transfer.account import Online
from jetcli.transfer.admission import open_envelope
from jetcli.transfer.delivery import Delivery
from jetcli.transfer.events import Detail, FileDone, Listener, Offered, Phase, Waiting
from jetcli.transfer.journal import Journal, new_transfer_id, recorded
from jetcli.transfer.outcome import Outcome, failed, reason_for
from jetcli.transfer.outgoing import Begun, Outbound, Outgoing
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.persistence import persist
from jetcli.transfer.serve import Serving
from jetcli.transfer.ways import accepted_transport
from jetcli.xmpp.negotiation import Negotiation


class Shared(Struct, frozen=True):
    """A file that is given out under its name, or to who knows its digest."""

    path: Path
    name: str
    sha256: bytes


async def share_files(
    online: Online, paths: Sequence[Path], allowed: Sequence[str], emit: Listener, stop: asyncio.Event
) -> None:
    """Answer requests for these files until `stop` is set; `allowed` are bare JIDs, none for all contacts.

    Raises LocalFileError for a file that cannot be read, and why the connection was lost for good.
    """
    shared = [await _hashed(online, path, emit) for path in paths]
    sharing = _Sharing(online, shared, frozenset(allowed), emit)
    stopped = asyncio.ensure_future(stop.wait())
    waiting: set[asyncio.Future[Any]] = {stopped, online.lost}
    try:
        async with Serving(online, emit, on_request=sharing.answer):
            emit(Phase("sharing"))
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if online.lost.done():
            raise online.lost.result()
    finally:
        stopped.cancel()


async def _hashed(online: Online, path: Path, emit: Listener) -> Shared:
    """Hash a file, unless that was done since it changed last."""
    with Source.open(path) as source:
        identity = recorded(source.identity)
        sha256 = online.file_hashes.known(identity)
        if sha256 is None:
            emit(Phase(f"hashing {shown(source.name)}"))
            loop, never = asyncio.get_running_loop(), threading.Event()
            sha256 = await loop.run_in_executor(online.hashing, prefix_sha256, source, source.size, never)
            online.file_hashes.remember(identity, sha256)
        return Shared(source.path, source.name, sha256)


class _Sharing:
    """Answers requests for the shared files."""

    def __init__(self, online: Online, shared: Sequence[Shared], allowed: frozenset[str], emit: Listener) -> None:
        self._online = online
        self._shared = shared
        self._allowed = allowed
        self._emit = emit

    async def answer(self, negotiation: Negotiation) -> None:
        """Send what is asked for, or say that there is no such file."""
        peer = negotiation.session.peer
        wanted = self._wanted(negotiation)
        try:
            if wanted is None:
                self._emit(Detail(f"{shown(peer)} asked for a file that is not shared with them"))
                negotiation.terminate("failed-application", application="file-not-available")
                return
            judged = judge(negotiation.session.offer, peer.partition("/")[0], request=True)
            opened, secret = await open_envelope(self._online, judged, peer)
            with Source.open(wanted.path, wanted.name) as source:
                await self._send(negotiation, judged, source, secret, opened.device)
        except JetError as error:
            self._emit(Detail(f"the request of {shown(peer)} was refused: {error.message}"))
            negotiation.end_for(reason_for(error))
        finally:
            await negotiation.close()

    def _wanted(self, negotiation: Negotiation) -> Shared | None:
        """Return the file that is asked for by someone who may have it."""
        bare_jid, file = negotiation.session.peer.partition("/")[0], negotiation.session.offer.description
        may = bare_jid in self._allowed if self._allowed else self._is_known(bare_jid)
        if not may or file is None:
            return None
        digests = {hash_.value for hash_ in file.hashes if hash_.algo == "sha-256"}
        if not digests and file.name is None:
            return None
        return next((each for each in self._shared if _matches(each, file, digests)), None)

    def _is_known(self, bare_jid: str) -> bool:
        return bare_jid == self._online.bare_jid or self._online.discovery.is_contact(bare_jid)

    async def _send(
        self, negotiation: Negotiation, judged: JudgedOffer, source: Source, secret: TransportSecret, device: Device
    ) -> None:
        asked = span(judged.file.range, source.size)
        length = None if asked.stop == source.size else len(asked)
        agreed = Range(asked.start, length)
        described = replace(judged.file, name=source.name, size=source.size)
        transfer_id, peer = new_transfer_id(self._online.transfers), negotiation.session.peer
        self._emit(Offered(transfer_id, "send", peer, source.name, source.size, None, resumable=True))
        with self._online.ownership.own(transfer_id) as mailbox:
            outgoing = self._outgoing(transfer_id, judged, source, peer, mailbox)
            if length is None and judged.cipher is Cipher.CHUNKED:
                outgoing.journal = self._journal(transfer_id, negotiation, described, source, device)

            async def begin() -> Begun:
                transport = await accepted_transport(self._online, negotiation, judged.transport)
                said = agreed if agreed != Range() else None
                negotiation.accept(acceptance(judged.content, transport, agreed=said, described=described))
                return Begun(negotiation, judged.content, secret, agreed)

            outcome = await self._persist(outgoing.run(begin), transfer_id, mailbox)
        if not isinstance(outcome, FileDone):
            self._emit(failed(outcome, transfer_id, "send", source.name))

    async def _persist(self, sending: Awaitable[Outcome], transfer_id: str, mailbox: Mailbox) -> Outcome:
        """Send, and go on where the peer has come back before we knew that it was gone."""
        rest = Delivery(self._online, self._emit, transfer_id, mailbox)

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            self._emit(Waiting(transfer_id, "send", error, attempt, pause_s))

        try:
            return await persist(sending, mailbox=mailbox, answer=rest.answer, again=None, retries=0, tell=tell)
        finally:
            await mailbox.close()

    def _outgoing(self, transfer_id: str, judged: JudgedOffer, source: Source, peer: str, mailbox: Mailbox) -> Outgoing:
        return Outgoing(self._online, self._emit, peer, Outbound(transfer_id, source, judged.cipher), mailbox)

    def _journal(
        self, transfer_id: str, negotiation: Negotiation, file: FileDescription, source: Source, device: Device
    ) -> Journal:
        return Journal.begin(
            self._online.transfers,
            transfer_id,
            direction="send",
            sid=negotiation.session.sid,
            peer=negotiation.session.peer.partition("/")[0],
            file=file,
            path=source.path,
            chunked=True,
            devices=[device],
            source=source,
        )


def _matches(shared: Shared, file: FileDescription, digests: set[bytes | None]) -> bool:
    """Say whether a request means this file: its digest and its name, as far as they are given."""
    if digests and shared.sha256 not in digests:
        return False
    return file.name in {None, shared.name}


def declined(peer: str, what: str) -> DeclinedError:
    """Return the failure of a request that nobody serves."""
    return DeclinedError(f"{shown(peer)} shares no '{shown(what)}' with us")
