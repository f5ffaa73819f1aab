"""Whether an offer is taken at all: who may send, under what name, how much, sealed by which device.

The order is the protection: the sender is judged first, then the shape of the offer and its size, and only then is the
envelope opened. From there on the device is sure, so that what is refused counts as a file of its command. Nothing is
asked of a person, written or dialled here.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from jetcli.errors import DeclinedError, NotResumableError, RemoteProtocolError, TrustError
from jetcli.files.space import check_space
from jetcli.protocol.device import OpenedEnvelope, Trust
from jetcli.protocol.model import SOURCE_CHANGED, Cipher, TransportSecret
from jetcli.protocol.offer import JudgedOffer, judge
from jetcli.protocol.policy import GCM_LIMIT, local_name, shown, shown_size
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.account import Online
from jetcli.transfer.options import ReceiveOptions
from jetcli.xmpp.negotiation import Negotiation

ANYONE = "anyone"
CONTACTS = "contacts"


class Admitted(Struct, frozen=True):
    """An offer that may be asked about or accepted: `name` is a safe local name inside `directory`."""

    offer: JudgedOffer
    directory: Path
    name: str
    size: int | None
    secret: TransportSecret
    opened: OpenedEnvelope

    @property
    def between_jets(self) -> bool:
        """Whether the stream is chunked, which only jets do."""
        return self.offer.cipher is Cipher.CHUNKED


def may_send(online: Online, options: ReceiveOptions, bare_jid: str) -> bool:
    """Say whether offers of `bare_jid` are looked at (design: who may send to us).

    `--from` alone decides where it is given, `--accept-all` or not. Otherwise: contacts, our own account, and who has a
    verified device.
    """
    if options.senders:
        contact = CONTACTS in options.senders and online.discovery.is_contact(bare_jid)
        return contact or ANYONE in options.senders or bare_jid in options.senders
    if bare_jid == online.bare_jid:
        return True
    verified = any(key.trust is Trust.VERIFIED for key in online.trust.keys(bare_jid))
    return verified or online.discovery.is_contact(bare_jid)


def stranger(options: ReceiveOptions, bare_jid: str) -> DeclinedError:
    """Return the refusal of someone who may not send."""
    why = "whom --from does not name" if options.senders else "who is no contact"
    return DeclinedError(f"declined an offer of {shown(bare_jid)}, {why}", hint=f"jet receive --from {shown(bare_jid)}")


async def admit(
    online: Online,
    options: ReceiveOptions,
    negotiation: Negotiation,
    known: Callable[[bytes], None] = lambda _: None,
) -> Admitted:
    """Judge an offer of someone who may send, and open its envelope.

    `known` hears the identity key of the device as soon as that is sure. Raises RemoteProtocolError (shape, name,
    size), LocalFileError (space), DeclinedError (too large, name), UnsupportedError (transport) and TrustError
    (encryption, device, downgrade).
    """
    peer = negotiation.session.peer
    bare_jid = peer.partition("/")[0]
    quirks = online.quirks(peer)
    if not quirks.compatible:
        raise TrustError(f"{shown(bare_jid)} offered a file with {quirks.client}: {quirks.note}; refused")
    offer = judge(negotiation.session.offer, bare_jid)
    most = options.max_size if offer.content.bundle is None else None  # holds for each file of a bundle
    _judge_size(offer, shown(offer.file.name or ""), most)
    opened, secret = await open_envelope(online, offer, peer)
    known(opened.device.identity_key)
    directory, name = _place(options, offer)
    # The members of a bundle are judged one by one: some of them may fit.
    if offer.size is not None and offer.content.bundle is None and not options.stdout:
        check_space(directory, offer.size)
    return Admitted(offer, directory, name, offer.size, secret, opened)


async def open_envelope(online: Online, offer: JudgedOffer, peer: str) -> tuple[OpenedEnvelope, TransportSecret]:
    """Open the envelope of an offer or request of `peer` (full JID), once; raises as `admit` does."""
    try:
        opened = await online.omemo.open(offer.envelope, peer)
        secret = opened.secret(offer.cipher)
    except ValueError as error:
        raise RemoteProtocolError(f"the offer's envelope does not fit its cipher: {error}") from None
    _refuse_replay(online, opened)
    _refuse_downgrade(online, opened, offer.cipher, peer.partition("/")[0])
    return opened, secret


async def admit_continuation(
    online: Online, record: TransferRecord, negotiation: Negotiation, *, request: bool
) -> tuple[JudgedOffer, TransportSecret]:
    """Judge an offer, or a `request`, to continue the transfer of `record`, whose peer it came from.

    Only the devices that the transfer began with may continue it. Raises RemoteProtocolError (shape), TrustError
    (encryption, device), NotResumableError (another size, or a cipher under which nothing can be continued).
    """
    peer = negotiation.session.peer
    offer = judge(negotiation.session.offer, peer.partition("/")[0], request=request)
    name = shown(record.name)
    if offer.cipher is not Cipher.CHUNKED or not record.chunked:
        raise NotResumableError(f"'{name}' cannot be continued under this cipher")
    if offer.size != record.size:
        raise NotResumableError(f"'{name}' has another size than when it began", application=SOURCE_CHANGED)
    opened = await online.omemo.open(offer.envelope, peer)
    if not record.knows(opened.device.identity_key):
        raise TrustError(f"{shown(peer)} wants to continue '{name}' from another device than it began with; refused")
    try:
        secret = opened.secret(offer.cipher)
    except ValueError as error:
        raise RemoteProtocolError(f"the offer's envelope does not fit its cipher: {error}") from None
    _refuse_replay(online, opened)
    return offer, secret


def _place(options: ReceiveOptions, offer: JudgedOffer) -> tuple[Path, str]:
    """Return the directory and the name for the file; `-o` replaces the peer's name whatever that is.

    The name of a bundle is only shown: its members are named one by one.
    """
    if offer.content.bundle is not None:
        with suppress(DeclinedError, RemoteProtocolError):
            return options.directory, local_name(offer.file.name, allow_hidden=True)
        return options.directory, "unnamed"
    if options.stdout:
        return options.directory, shown(offer.file.name or "")
    if options.output is not None:
        return options.output.parent, options.output.name
    return options.directory, local_name(offer.file.name, allow_hidden=options.allow_hidden)


def _judge_size(offer: JudgedOffer, name: str, most: int | None) -> None:
    size = offer.size
    if size is None:
        return
    if offer.cipher is not Cipher.CHUNKED and size > GCM_LIMIT:
        raise RemoteProtocolError(f"'{name}' is larger than its cipher allows", condition="failed-application")
    if most is not None and size > most:
        raise DeclinedError(f"'{name}' is larger than --max-size ({shown_size(size)})")


def _refuse_replay(online: Online, opened: OpenedEnvelope) -> None:
    if not online.seen_envelopes.first_time(opened.device.identity_key, opened.iv, time.time()):
        raise TrustError("the offer repeats an envelope that was used before; refused")


def _refuse_downgrade(online: Online, opened: OpenedEnvelope, cipher: Cipher, bare_jid: str) -> None:
    # That a device speaks the chunked cipher is believed when its first chunk is opened: a server can write it.
    if cipher is not Cipher.CHUNKED and online.chunked_peers.knows(opened.device.identity_key):
        raise TrustError(
            f"{shown(bare_jid)} used a jet before and offers a weaker stream now; refused",
            hint="if that device changed its client, let it log in anew with  jet login",
        )
