"""Requesting a file that a contact shares, under a secret of our own (XEP-0391 section 4.2)."""

import os
import re
import secrets

from msgspec import Struct

from jetcli.errors import DeclinedError, JetError, RemoteProtocolError
from jetcli.files.pipe import HeldBackOutput, PipeOutput
from jetcli.files.sink import Output, Sink
from jetcli.files.space import check_space
from jetcli.protocol.device import Device
from jetcli.protocol.model import IV_SIZE, Cipher, Content, FileDescription, Hash, TransportSecret
from jetcli.protocol.offer import file_request
from jetcli.protocol.policy import local_name, shown, shown_size
from jetcli.transfer.account import Online
from jetcli.transfer.collection import Collection
from jetcli.transfer.events import Accepted, Detail, FileDone, FileFailed, Listener, Offered, Phase, Waiting
from jetcli.transfer.incoming import Begun, Expected, Incoming
from jetcli.transfer.journal import Journal, Unrecorded, new_transfer_id
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.outcome import Outcome, failed, failure_of, reason_for
from jetcli.transfer.outlets import STDOUT
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer, resuming_peers
from jetcli.transfer.persistence import persist
from jetcli.transfer.serve import Serving
from jetcli.transfer.share import declined
from jetcli.transfer.ways import offered_transport
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

_SHA256 = re.compile(r"(?:sha-?256:)?([0-9a-fA-F]{64})")


class _Promised(Struct, frozen=True):
    """A request that was accepted: the session, the file as the peer describes it, and the devices asked."""

    negotiation: Negotiation
    content: Content
    secret: TransportSecret
    file: FileDescription
    size: int
    devices: tuple[Device, ...]


async def request_file(
    online: Online, what: str, to: str, options: ReceiveOptions, emit: Listener
) -> FileDone | FileFailed:
    """Ask `to` (bare or full JID) for the shared file `what`, a sha-256 or a name, and receive it.

    Raises UnavailableError and NotResumableError as `resuming_peers` does, DeclinedError where nobody shares it with
    us, and what an offer of that file would raise.
    """
    async with Serving(online, emit):
        return await _Request(online, what, options, emit).run(to)


class _Request:
    """One file that we ask for."""

    def __init__(self, online: Online, what: str, options: ReceiveOptions, emit: Listener) -> None:
        self._online = online
        self._what = what
        self._options = options
        self._emit = emit
        self._id = new_transfer_id(online.transfers)
        found = _SHA256.fullmatch(what)
        self._sha256 = bytes.fromhex(found[1]) if found else None
        self._name = what

    async def run(self, to: str) -> FileDone | FileFailed:
        bare_jid, _, resource = to.partition("/")
        for peer in await resuming_peers(self._online, bare_jid, before=to if resource else None):
            negotiation = self._online.jingle.negotiate(peer.jid, self._online.terms(peer.jid))
            try:
                return await self._receive(await self._promised(peer, negotiation))
            except SessionEnded as ended:
                if ended.end.reason.application != "file-not-available":
                    raise failure_of(ended.end, shown(peer.jid), shown(self._what), flowing=False) from None
                self._emit(Detail(f"{shown(peer.jid)} has no such file"))
            except JetError as error:
                negotiation.end_for(reason_for(error))
                raise
            finally:
                await negotiation.close()
        raise declined(bare_jid, self._what)

    async def _promised(self, peer: Peer, negotiation: Negotiation) -> _Promised:
        """Ask under a fresh secret, and return what the peer promises to send."""
        secret = TransportSecret(secrets.token_bytes(Cipher.CHUNKED.key_size), secrets.token_bytes(IV_SIZE))
        envelope, devices = await self._online.omemo.seal(secret, peer.bare_jid)
        wanted = (
            FileDescription(name=self._what)
            if self._sha256 is None
            else FileDescription(hashes=(Hash("sha-256", self._sha256),))
        )
        transport = await offered_transport(self._online, peer, negotiation)
        content = file_request(f"ft-{secrets.token_hex(4)}", wanted, transport, Cipher.CHUNKED, envelope)
        self._emit(Phase(f"asking {shown(peer.jid)} for {shown(self._what)}", self._id))
        negotiation.initiate(content)
        file = (await negotiation.accepted).description
        if file is None or file.size is None or file.name is None or (file.range and file.range.offset):
            raise RemoteProtocolError(f"{shown(peer.jid)} accepted without saying what it will send")
        return _Promised(negotiation, content, secret, file, file.size, devices)

    async def _receive(self, promised: _Promised) -> FileDone | FileFailed:
        peer, offered = promised.negotiation.session.peer, promised.file.name or ""
        with self._online.ownership.own(self._id) as mailbox:
            sink = self._sink(offered, promised.size)
            self._emit(Offered(self._id, "receive", peer, offered, promised.size, None, resumable=sink.resumable))
            self._emit(Accepted(self._id, "receive"))
            try:
                outcome = await self._persist(promised, sink, mailbox)
            finally:
                await mailbox.close()
        if isinstance(outcome, FileDone):
            return outcome
        event = failed(outcome, self._id, "receive", self._name)
        self._emit(event)
        return event

    def _sink(self, offered: str, size: int) -> Output:
        """Open where it goes, by the rules for what is offered to us."""
        options = self._options
        if options.max_size is not None and size > options.max_size:
            raise DeclinedError(f"'{shown(offered)}' is larger than --max-size ({shown_size(size)})")
        if options.stdout:
            self._name = shown(offered)
            pipe = PipeOutput(STDOUT)
            # What is asked for by its digest is that file only when all of it has come.
            return pipe if self._sha256 is None else HeldBackOutput(pipe, size)
        directory = options.output.parent if options.output else options.directory
        name = options.output.name if options.output else local_name(offered, allow_hidden=options.allow_hidden)
        if options.on_exist == "skip" and os.path.lexists(directory / name):
            raise DeclinedError(f"'{shown(name)}' is here already")
        check_space(directory, size)
        self._name, output = name, options.output is not None
        return Sink.create(directory, name, self._id, size=size, on_exist=options.on_exist, output=output)

    async def _persist(self, promised: _Promised, sink: Output, mailbox: Mailbox) -> Outcome:
        expected = Expected(
            id=self._id,
            name=self._name,
            size=promised.size,
            date=promised.file.date,
            cipher=Cipher.CHUNKED,
            secret=promised.secret,
            checksum=promised.file.hash_used is not None,
            sha256=self._sha256,
        )
        try:
            journal = self._journal(promised, sink)
        except BaseException:
            sink.discard()
            raise
        incoming = Incoming(
            self._online,
            self._emit,
            promised.negotiation,
            expected=expected,
            sink=sink,
            journal=journal,
            mailbox=mailbox,
        )
        rest = Collection(self._online, self._emit, self._id, mailbox)
        rest.eager, rest.before = True, promised.negotiation.session.peer

        async def begin() -> Begun:
            return Begun(promised.content)

        def tell(attempt: int, pause_s: float, error: JetError) -> None:
            self._emit(Waiting(self._id, "receive", error, attempt, pause_s))

        return await persist(
            incoming.run(begin),
            mailbox=mailbox,
            answer=rest.answer,
            again=rest.request,
            retries=self._online.network.retries,
            tell=tell,
        )

    def _journal(self, promised: _Promised, sink: Output) -> Journal:
        if not isinstance(sink, Sink):
            return Unrecorded(self._online.transfers, self._id)
        session = promised.negotiation.session
        return Journal.begin(
            self._online.transfers,
            self._id,
            direction="receive",
            sid=session.sid,
            peer=session.peer.partition("/")[0],
            file=promised.file,
            path=self._options.output.parent if self._options.output else self._options.directory,
            chunked=True,
            devices=promised.devices,
            part=sink.part,
            part_inode=sink.part_inode,
            final_name=sink.name,
            on_exist="fail" if self._options.output else self._options.on_exist,
            sha256=self._sha256,
            most=self._options.max_size,
        )
