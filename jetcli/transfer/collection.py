"""The rest of a file that we receive: by our own request, or because the sender offers it again.

Everything comes from the record of the transfer and from the part file, whose verified bytes alone count. Where nothing
is missing the file is published without anyone's help.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from jetcli.errors import IntegrityError, JetError, LocalFileError, RemoteProtocolError
from jetcli.files.sink import Sink
from jetcli.files.space import check_space
from jetcli.protocol.model import (
    IV_SIZE,
    Cipher,
    Content,
    FileDescription,
    Range,
    TransportSecret,
)
from jetcli.protocol.offer import JudgedOffer, acceptance, file_request
from jetcli.protocol.policy import shown
from jetcli.protocol.ranges import rest_of
from jetcli.state.transfers import TransferRecord, TransferState
from jetcli.transfer.account import Online
from jetcli.transfer.admission import admit_continuation
from jetcli.transfer.continuation import Continuation, demand_known
from jetcli.transfer.events import FileDone, Listener, Phase, Verification
from jetcli.transfer.incoming import Begun, Expected, Incoming, another_file, believed_time, to_the_end
from jetcli.transfer.journal import Journal, this_boot
from jetcli.transfer.options import Placing
from jetcli.transfer.outcome import Broken, Outcome, reason_for
from jetcli.transfer.outlets import part_kind, unpacked, unpacks
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer
from jetcli.transfer.proving import digest_of
from jetcli.transfer.ways import accepted_transport, no_transport, offered_transport
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

#: Gets the session that was agreed on, what the sender demands, and the secret, once somebody sends the rest.
Agreed = tuple[Negotiation, Begun, TransportSecret]


class Collection(Continuation):
    """One recorded file on its way to us; `placing` is where and under which name it is to be saved."""

    def __init__(
        self, online: Online, emit: Listener, transfer_id: str, mailbox: Mailbox, placing: Placing | None = None
    ) -> None:
        super().__init__(online, emit, transfer_id, mailbox)
        self._placing = placing or Placing()

    async def request(self) -> Outcome:
        """Ask the peer's devices for the rest, one after the other, until one knows the transfer."""
        record = self._online.transfers.get(self._id)
        try:
            sink = self._reopened(record)
        except JetError as error:
            return await self._already_there(record) or self._broken(error, transient=False)
        if _whole(record, sink):
            return await self._publish(record, sink)

        async def take(peer: Peer, negotiation: Negotiation) -> Outcome:
            begun, secret = await self._accepted(record, sink.position, peer, negotiation)

            async def begin() -> Begun:
                return begun

            return await self._incoming(record, sink, negotiation, secret).run(begin)

        try:
            return await self._ask(record, take)
        finally:
            sink.keep()

    async def answer(self, negotiation: Negotiation) -> Outcome:
        """Take the rest that the sender offers, if it is the sender of this transfer."""
        self._mailbox.current = negotiation
        try:
            return await self._answer(negotiation)
        except JetError as error:
            negotiation.end_for(reason_for(error))
            return self._broken(error, transient=False)
        finally:
            self.before = negotiation.session.peer
            await negotiation.close()

    async def _answer(self, negotiation: Negotiation) -> Outcome:
        record = self._online.transfers.get(self._id)
        judged, secret = await admit_continuation(self._online, record, negotiation, request=False)
        outcome = await self._finished(record)
        if outcome is None:
            sink = self._reopened(record)
            if not _whole(record, sink):
                return await self._continued(record, sink, negotiation, judged, secret)
            outcome = await self._publish(record, sink)
        if isinstance(outcome, Broken):
            negotiation.end_for(reason_for(outcome.error))
        else:
            self._nothing_missing(negotiation, judged, outcome.size)
        return outcome

    async def _continued(
        self,
        record: TransferRecord,
        sink: Sink,
        negotiation: Negotiation,
        judged: JudgedOffer,
        secret: TransportSecret,
    ) -> Outcome:
        """Accept the rest, and receive it."""

        async def begin() -> Begun:
            transport = await accepted_transport(self._online, negotiation, judged.transport)
            negotiation.accept(acceptance(judged.content, transport, agreed=Range(sink.position)))
            return Begun(judged.content, judged.content.prove and sink.position > 0)

        return await self._incoming(record, sink, negotiation, secret).run(begin)

    async def _accepted(
        self, record: TransferRecord, offset: int, peer: Peer, negotiation: Negotiation
    ) -> tuple[Begun, TransportSecret]:
        """Ask for the rest under a fresh secret of ours, and return once it is agreed to."""
        secret = TransportSecret(secrets.token_bytes(Cipher.CHUNKED.key_size), secrets.token_bytes(IV_SIZE))
        envelope, devices = await self._online.omemo.seal(secret, record.peer)
        demand_known(record, devices)
        transport = await offered_transport(self._online, peer, negotiation)
        content = file_request(
            f"ft-{secrets.token_hex(4)}",
            _description(record, offset),
            transport,
            Cipher.CHUNKED,
            envelope,
            transfer=record.first_sid,
        )
        self._emit(Phase(f"asking {shown(peer.jid)} for the rest of {shown(record.name)}", self._id))
        negotiation.initiate(content)
        accepted = await negotiation.accepted
        if _offset(accepted, record.size) != offset:
            raise RemoteProtocolError(f"{shown(peer.jid)} would send another part of the file than was asked for")
        return Begun(content, accepted.prove), secret

    def _incoming(
        self, record: TransferRecord, sink: Sink, negotiation: Negotiation, secret: TransportSecret
    ) -> Incoming:
        expected = Expected(
            id=self._id,
            name=sink.name,
            size=record.size,
            date=record.date,
            cipher=Cipher.CHUNKED,
            secret=secret,
            checksum=record.checksum,
            continued=True,
            sha256=record.sha256,
            most=record.most,
        )
        return Incoming(
            self._online,
            self._emit,
            negotiation,
            expected=expected,
            sink=sink,
            journal=self._journal,
            mailbox=self._mailbox,
        )

    # What we hold.

    @property
    def _journal(self) -> Journal:
        return Journal(self._online.transfers, self._id)

    def _reopened(self, record: TransferRecord) -> Sink:
        """Open the part, cut to what the record vouches for, and record what is there.

        Raises NotResumableError where it is gone, LocalFileError where something else is in its place or no space left.
        """
        placing, boot = self._placing, this_boot()
        target = placing.output or Path(record.path) / (record.final_name or record.name)
        if target.parent.absolute() != Path(record.path):
            there = shown(record.path)
            raise LocalFileError(f"'{shown(record.name)}' can only be saved where its part is, in '{there}'")
        sink = part_kind(target.name, extract=record.extract).reopen(
            Path(record.path),
            target.name,
            self._id,
            inode=None if placing.adopt else record.part_inode,
            length=_vouched(record, boot),
            size=record.size,
            on_exist=placing.on_exist or record.on_exist or "rename",  # type: ignore[arg-type]  # one of the words
            output=placing.output is not None,
        )
        try:
            if record.size is not None:
                check_space(Path(record.path), record.size - sink.position)
            self._journal.found(sink.part_inode, sink.position, min(record.synced, sink.position))
        except BaseException:
            sink.keep()
            raise
        return sink

    async def _publish(self, record: TransferRecord, sink: Sink) -> Outcome:
        """Publish a file of which nothing is missing, unless it is not the one that it must be."""

        async def publish() -> Path:
            loop, date = asyncio.get_running_loop(), believed_time(record.date)
            path = await loop.run_in_executor(self._online.finishing, sink.publish, date)
            self._journal.done()
            return path

        try:
            await self._compare(record, sink)
            path = await to_the_end(publish())
        except JetError as error:
            if sink.resumable and not isinstance(error, IntegrityError):
                return self._broken(error, transient=False)
            return self._useless(error, sink)
        finally:
            sink.keep()
        return self._complete(record, path, sink.position)

    async def _compare(self, record: TransferRecord, sink: Sink) -> None:
        """Raise IntegrityError where the whole part has another digest than the file must have."""
        if record.sha256 is None:
            return
        self._emit(Phase("hashing what has come", self._id))
        if await digest_of(self._online, sink, sink.position) != record.sha256:
            raise another_file(sink.name)

    def _useless(self, error: JetError, sink: Sink | None = None) -> Broken:
        """End a transfer that no session can mend."""
        if sink is not None:
            sink.discard()
        self._journal.failed(kept=False)
        return Broken(error)

    async def _finished(self, record: TransferRecord) -> Outcome | None:
        """Return the end of a transfer that has come to its end before, or None."""
        if record.state is TransferState.DONE:
            return FileDone(self._id, "receive", record.name, None, record.size or 0, 0.0, "chunks")
        return await self._already_there(record)

    async def _already_there(self, record: TransferRecord) -> Outcome | None:
        """Finish a transfer whose part was given its final name before we could write that down."""
        path = _published(record)
        if path is None:
            return None
        if unpacks(path.name, extract=record.extract):
            try:
                path = await asyncio.get_running_loop().run_in_executor(self._online.finishing, unpacked, path)
            except JetError as error:
                return self._useless(error)
        self._journal.done()
        return self._complete(record, path, record.size or 0)

    def _complete(self, record: TransferRecord, path: Path, size: int) -> FileDone:
        digest = record.sha256.hex() if record.sha256 else None
        proof: Verification = "chunks+checksum" if digest else "chunks"
        done = FileDone(self._id, "receive", path.name, path, size, 0.0, proof, digest)
        self._emit(done)
        return done

    def _nothing_missing(self, negotiation: Negotiation, judged: JudgedOffer, size: int) -> None:
        transport = no_transport(judged.transport)
        with suppress(SessionEnded):  # the sender has gone: the file is here all the same
            negotiation.accept(acceptance(judged.content, transport, agreed=Range(size)))
        negotiation.terminate("success")


def _vouched(record: TransferRecord, boot_id: str) -> int:
    """Return how many bytes of the part count.

    Where the sender has promised a checksum and not told it yet, one byte less than all: there has to be one more
    session, in which it is told.
    """
    held = record.held(boot_id)
    untold = record.checksum and record.sha256 is None
    return min(held, record.size - 1) if untold and record.size else held


def _published(record: TransferRecord) -> Path | None:
    """Return the file that the part has become, if it is gone and there is one."""
    if not record.size or (Path(record.path) / (record.part or "")).exists():
        return None
    with suppress(OSError):
        for entry in os.scandir(record.path):
            if entry.inode() != record.part_inode or entry.name == record.part:
                continue
            if entry.is_file(follow_symlinks=False) and entry.stat().st_size == record.size:
                return Path(entry.path)
    return None


def _whole(record: TransferRecord, sink: Sink) -> bool:
    """Say whether every byte is there; an empty file has no byte that could have been verified."""
    return bool(record.size) and sink.position == record.size


def _description(record: TransferRecord, offset: int) -> FileDescription:
    return FileDescription(name=record.name, size=record.size, range=Range(offset))


def _offset(accepted: Content, size: int | None) -> int:
    """Return where the sender will begin."""
    said = accepted.description.range if accepted.description else None
    if size is None:
        return said.offset if said else 0
    return rest_of(said, size).offset


#: Continues a transfer by itself: `Delivery.offer` or `Collection.request`.
Continue = Callable[[], Awaitable[Outcome]]
