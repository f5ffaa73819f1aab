"""Offering to a peer: a fresh secret, an envelope that one of its jets can open, and the wait until it is accepted.

What is offered, one file or a bundle, comes in as a description; what is told of it is the business of who offers.
"""

import asyncio
import mimetypes
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec.structs import replace

from jetcli.errors import RemoteProtocolError, TrustError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import IV_SIZE, Batch, Content, FileDescription, Range, TransportSecret
from jetcli.protocol.offer import check_acceptance, file_offer
from jetcli.protocol.policy import shown
from jetcli.protocol.ranges import rest_of
from jetcli.transfer.account import Online
from jetcli.transfer.events import Detail, Listener, PeerFound
from jetcli.transfer.outcome import reason_for
from jetcli.transfer.outgoing import Begun, Outbound
from jetcli.transfer.peer import Peer
from jetcli.transfer.ways import offered_transport
from jetcli.xmpp.negotiation import Negotiation, SessionEnded
from jetcli.xmpp.phases import phase_over

#: How often a session is begun anew: of the hundred prekeys in a bundle few can have been used since it was published.
_RENEWALS = 2


def weakest(devices: Iterable[Device]) -> Trust:
    """Return the trust of the least trusted of the devices that something was sealed for."""
    return Trust.BLIND if any(device.trust is Trust.BLIND for device in devices) else Trust.VERIFIED


def date_of(mtime: float | None) -> str | None:
    """Return a time in seconds since the epoch as `<date/>` has it (XEP-0082); None for one that it cannot write."""
    if mtime is None:
        return None
    try:
        moment = datetime.fromtimestamp(int(mtime), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def media_type_of(name: str) -> str:
    """Return what a file of this name probably is."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


class Offering:
    """Offers `out`, described by `file`; `offered` is called for each offer that has gone out.

    `peer` is the one that could open it in the end, `devices` those that it was sealed for. `batch` says which file of
    one command this is, `bundle` how many of them from there on, and the size of the first.
    """

    def __init__(
        self,
        online: Online,
        peer: Peer,
        emit: Listener,
        *,
        out: Outbound,
        file: FileDescription,
        offered: Callable[[], None],
        batch: Batch | None = None,
        bundle: tuple[int, int] | None = None,
    ) -> None:
        self.peer = peer
        self.devices: tuple[Device, ...] = ()
        self._online = online
        self._emit = emit
        self._out = out
        self._file = file
        self._on_offered = offered
        self._batch = batch
        self._bundle = bundle
        self._negotiations: list[Negotiation] = []

    async def close(self) -> None:
        """End every session that came of it."""
        for negotiation in self._negotiations:
            await negotiation.close()

    async def accepted(self) -> Begun:
        """Offer to a jet that can open the envelope, and return once it has accepted.

        A jet that could not has mended its OMEMO session meanwhile, or its device is not one of those that are
        trusted: it is offered once more, then to the other jets of the account. Others are offered it anew by other
        sessions, where they have never answered on the old ones.
        """
        jets = self._out.between_jets
        anew = False
        for peer in (self.peer, *self.peer.others) if jets else (self.peer,) * _RENEWALS:
            try:
                return await self._offered(anew=anew)
            except SessionEnded as ended:
                if not (_unopened(ended.end) and (jets or self._online.omemo.may_be_dead(self.devices))):
                    raise
            self._emit(Detail(f"{shown(self.peer.jid)} could not open the envelope", self._out.id))
            self.peer = peer
            anew = not jets
        return await self._offered(anew=anew)

    async def _offered(self, *, anew: bool = False) -> Begun:
        """Seal a fresh secret, offer and wait until it is accepted."""
        terms = self._online.terms(self.peer.jid, self.peer.abilities.quirks.client)
        negotiation = self._online.jingle.negotiate(self.peer.jid, terms, self.peer.proposal)
        self._negotiations.append(negotiation)
        secret = TransportSecret(secrets.token_bytes(self._out.cipher.key_size), secrets.token_bytes(IV_SIZE))
        content = await self._offer(negotiation, secret, anew)
        negotiation.initiate(content)
        phase_over("offer")
        self._on_offered()
        try:
            accepted = await negotiation.accepted
            phase_over("accept")
            check_acceptance(content, accepted, self.peer.bare_jid)
            said = accepted.description.range if accepted.description else None
            agreed = rest_of(said, self._file.size) if self._file.size is not None else Range()
        except (TrustError, RemoteProtocolError) as error:
            negotiation.end_for(reason_for(error))
            raise
        return Begun(negotiation, content, secret, agreed)

    async def _offer(self, negotiation: Negotiation, secret: TransportSecret, anew: bool) -> Content:
        blank = self.peer.abilities.quirks.blank_payload
        sealing = self._online.omemo.seal(secret, self.peer.bare_jid, blank_payload=blank, anew=anew)
        (envelope, self.devices), transport = await asyncio.gather(
            sealing, offered_transport(self._online, self.peer, negotiation)
        )
        self._refuse_downgrade()
        able = self.peer.abilities
        self._emit(
            PeerFound(self.peer.jid, self.peer.client, weakest(self.devices), self._out.between_jets, able.resumes)
        )
        name = f"ft-{secrets.token_hex(4)}"
        content = file_offer(name, self._file, transport, self._out.cipher, envelope)
        bundle, first_size = self._bundle or (None, None)
        return replace(content, batch=self._batch, bundle=bundle, first_size=first_size)

    def _refuse_downgrade(self) -> None:
        """Refuse a weaker stream for devices all of which have spoken the chunked cipher; raises TrustError."""
        known = self._online.chunked_peers.knows
        if self._out.between_jets or not all(known(device.identity_key) for device in self.devices):
            return
        raise TrustError(
            f"{shown(self.peer.jid)} takes a weaker stream only, and its account has used nothing but jets; refused",
            hint="if a device of that account changed its client, let it log in anew there",
        )


def _unopened(end: Ended) -> bool:
    """Say whether the peer refused an offer because it could not open the envelope: Dino by an IQ error."""
    return end.by_peer and (end.refusal == "not-acceptable" or end.reason.condition == "security-error")
