"""Taking an offer that was admitted and agreed to: makes the part, accepts, and lets the bytes come in."""

from jetcli.files.sink import Output, Sink
from jetcli.protocol.offer import acceptance
from jetcli.transfer.account import Online
from jetcli.transfer.admission import Admitted
from jetcli.transfer.events import Listener
from jetcli.transfer.incoming import Begun, Expected, Incoming
from jetcli.transfer.journal import Journal, Unrecorded
from jetcli.transfer.options import OnExist, ReceiveOptions
from jetcli.transfer.outcome import Outcome
from jetcli.transfer.outlets import outlet
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.ways import accepted_transport
from jetcli.xmpp.negotiation import Negotiation


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
        on_exist: OnExist,
        mailbox: Mailbox,
    ) -> None:
        self._online = online
        self._options = options
        self._emit = emit
        self._negotiation = negotiation
        self._admitted = admitted
        self._id = transfer_id
        self._name = name
        self._chosen_on_exist = on_exist
        self._mailbox = mailbox

    async def run(self) -> Outcome:
        """Receive the file and publish it; a failure is returned.

        Raises LocalFileError before the accept, and SetupError where nothing can be recorded; then nothing is left.
        """
        sink = outlet(self._options, self._admitted, self._id, self._name, self._chosen_on_exist)
        try:
            journal = self._begin_journal(sink)
        except BaseException:
            sink.discard()
            raise
        incoming = Incoming(
            self._online,
            self._emit,
            self._negotiation,
            expected=self._expected(),
            sink=sink,
            journal=journal,
            mailbox=self._mailbox,
        )
        return await incoming.run(self._accept)

    def _expected(self) -> Expected:
        offer = self._admitted.offer
        return Expected(
            id=self._id,
            name=self._name,
            size=self._admitted.size,
            date=offer.file.date,
            cipher=offer.cipher,
            secret=self._admitted.secret,
            checksum=offer.promises_checksum,
            keep_partial=self._options.keep_partial,
            most=self._options.max_size,
            repeatable=offer.file.range is not None,
            device=self._admitted.opened.device.identity_key,
        )

    async def _accept(self) -> Begun:
        offer = self._admitted.offer
        transport = await accepted_transport(self._online, self._negotiation, offer.transport)
        self._negotiation.accept(acceptance(offer.content, transport))
        return Begun(offer.content)

    def _begin_journal(self, sink: Output) -> Journal:
        if not isinstance(sink, Sink):
            return Unrecorded(self._online.transfers, self._id)
        return Journal.begin(
            self._online.transfers,
            self._id,
            direction="receive",
            sid=self._negotiation.session.sid,
            peer=self._negotiation.session.peer.partition("/")[0],
            file=self._admitted.offer.file,
            path=self._admitted.directory,
            chunked=self._admitted.between_jets,
            devices=[self._admitted.opened.device],
            part=sink.part,
            part_inode=sink.part_inode,
            final_name=self._name,
            on_exist=self._on_exist,
            most=self._options.max_size,
            extract=self._options.extract,
        )

    @property
    def _on_exist(self) -> OnExist:
        """What holds for the name, also when another process publishes the file: one that the user chose is kept."""
        chosen = self._options.output is not None and self._chosen_on_exist != "overwrite"
        return "fail" if chosen else self._chosen_on_exist
