"""What sending and taking the rest of a file have in common: which devices are asked, and what a failure means.

The record of a transfer names the peer's bare JID and the keys that it began with; nobody else is asked, and nobody
else continues it. What is agreed on with a device, and how the bytes then flow, is left to
`jetcli.transfer.delivery` and `jetcli.transfer.collection`.
"""

from collections.abc import Awaitable, Callable

from jetcli.errors import JetError, NotResumableError, TrustError
from jetcli.protocol.device import Device
from jetcli.protocol.model import UNKNOWN_TRANSFER
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.account import Online
from jetcli.transfer.events import Detail, Listener
from jetcli.transfer.meeting import is_nobody
from jetcli.transfer.outcome import Broken, Outcome, failure_of, is_transient, reason_for
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer, resuming_peers
from jetcli.xmpp.negotiation import Negotiation, SessionEnded


class Continuation:
    """One recorded transfer, session after session.

    `eager` says that somebody who can continue it is worth waiting for. `before` is the full JID that had the transfer.
    """

    def __init__(self, online: Online, emit: Listener, transfer_id: str, mailbox: Mailbox) -> None:
        self._online = online
        self._emit = emit
        self._id = transfer_id
        self._mailbox = mailbox
        self.eager = False
        self.before: str | None = None

    async def _ask(self, record: TransferRecord, one: Callable[[Peer, Negotiation], Awaitable[Outcome]]) -> Outcome:
        """Ask the peer's devices, one after the other, until `one` knows the transfer; a failure is returned."""
        try:
            return await self._ask_each(record, one)
        except JetError as error:
            return self._broken(error, transient=self.eager if is_nobody(error) else is_transient(error, None))
        except SessionEnded as ended:
            peer, asked = shown(self.before or record.peer), record.direction == "receive"
            failure = failure_of(ended.end, peer, shown(record.name), flowing=False, asked=asked)
            unknown = ended.end.reason.application == UNKNOWN_TRANSFER
            return self._broken(failure, transient=(unknown and self.eager) or is_transient(failure, ended.end))

    async def _ask_each(
        self, record: TransferRecord, one: Callable[[Peer, Negotiation], Awaitable[Outcome]]
    ) -> Outcome:
        unknown: SessionEnded | None = None
        for peer in await resuming_peers(self._online, record.peer, before=self.before, transfer=record.first_sid):
            self.before = peer.jid
            negotiation = self._mailbox.current = self._online.jingle.negotiate(
                peer.jid, self._online.terms(peer.jid, peer.abilities.quirks.client), peer.proposal
            )
            try:
                return await one(peer, negotiation)
            except SessionEnded as ended:
                if ended.end.reason.application != UNKNOWN_TRANSFER:
                    raise
                unknown = ended
                self._emit(Detail(f"{shown(peer.jid)} does not know the transfer", self._id))
            except JetError as error:
                negotiation.end_for(reason_for(error))
                raise
            finally:
                await negotiation.close()
        assert unknown is not None, "there is at least one peer, or an error"
        raise unknown

    def _broken(self, error: JetError, *, transient: bool) -> Broken:
        return Broken(error, kept=is_nobody(error) or not isinstance(error, NotResumableError), transient=transient)


def demand_known(record: TransferRecord, devices: tuple[Device, ...]) -> None:
    """Refuse to continue a transfer with devices that it did not begin with; raises TrustError."""
    if not any(record.knows(device.identity_key) for device in devices):
        raise TrustError(
            f"{shown(record.peer)} has none of the keys any more that '{shown(record.name)}' began with",
            hint=f"compare the fingerprints, then send the file again:  jet caps {shown(record.peer)}",
        )
