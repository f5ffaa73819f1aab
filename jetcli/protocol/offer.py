"""What an offer looks like: how jet writes one, and what it demands of one that arrives.

An offer is the content of a session-initiate. Judging it is pure: size and encryption are looked at here, before the
envelope is opened and before anyone is asked; the name is judged by `jetcli.protocol.policy.local_name`.
"""

from msgspec import Struct

from jetcli.errors import RemoteProtocolError, TrustError, UnsupportedError
from jetcli.protocol.bundle import judge_bundle
from jetcli.protocol.model import (
    NS_OMEMO,
    Cipher,
    Content,
    Envelope,
    FileDescription,
    InbandTransport,
    Initiate,
    Range,
    Security,
    Socks5Transport,
    Transport,
    UnknownTransport,
)
from jetcli.protocol.policy import offered_size, shown
from jetcli.protocol.quirks import Abilities


def cipher_for(abilities: Abilities) -> Cipher:
    """Return the cipher to offer: the chunked one between jets, the plain one of XEP-0396 to everyone else."""
    return Cipher.CHUNKED if abilities.chunked else Cipher.AES_128_GCM


def file_offer(
    name: str,
    description: FileDescription,
    transport: Transport,
    cipher: Cipher,
    envelope: Envelope,
    *,
    transfer: str | None = None,
    prove: bool = False,
) -> Content:
    """Return the content that offers a file in the shape that every known client accepts.

    `name` is the content's; `security@name` repeats it, and the cipher's URI goes without `:0` (Conversations).
    `transfer` names the first session of a transfer that the offer continues, and `prove` asks for a proof of what
    the receiver holds; both only towards a jet.
    """
    security = Security(name, cipher.value, NS_OMEMO, envelope)
    return Content("initiator", name, "initiator", description, transport, security, transfer, prove)


def file_request(
    name: str,
    description: FileDescription,
    transport: Transport,
    cipher: Cipher,
    envelope: Envelope,
    *,
    transfer: str | None = None,
) -> Content:
    """Return the content that requests a file, or the rest of one, under a secret of ours (XEP-0391 section 4.2)."""
    security = Security(name, cipher.value, NS_OMEMO, envelope)
    return Content("initiator", name, "responder", description, transport, security, transfer)


def acceptance(
    offer: Content,
    transport: Transport,
    *,
    agreed: Range | None = None,
    prove: bool = False,
    described: FileDescription | None = None,
) -> Content:
    """Return the content that accepts `offer`: clients need description, transport and `senders` repeated.

    `agreed` is where the stream begins, where that is not the beginning; `prove` demands a proof of what lies before.
    `described` tells the file to who requested one without knowing all of it.
    """
    description = described or offer.description
    assert description is not None, "a judged offer describes its file"
    repeated = FileDescription(
        name=description.name,
        size=description.size,
        media_type=description.media_type,
        desc=description.desc,
        range=agreed or (Range() if description.range is not None else None),
        hash_used=description.hash_used,
    )
    senders = "responder" if is_request(offer) else "initiator"
    return Content(offer.creator, offer.name, senders, repeated, transport, transfer=offer.transfer, prove=prove)


def is_request(content: Content) -> bool:
    """Say whether a session-initiate asks for a file instead of offering one (XEP-0234 section 7)."""
    return content.senders == "responder"


class JudgedOffer(Struct, frozen=True):
    """An offer that can be used: its file, cipher, envelope and transport are there and make sense.

    `size` is None where the sender does not know it, which takes the chunked cipher.
    """

    content: Content
    file: FileDescription
    cipher: Cipher
    envelope: Envelope
    transport: Socks5Transport | InbandTransport
    size: int | None

    @property
    def promises_checksum(self) -> bool:
        """Whether the sender said that a whole-file checksum will follow (XEP-0234 section 8.3)."""
        return self.file.hash_used is not None


#: What `senders` may say; without the attribute it is the initiator who sends.
_SENDERS = {None, "initiator", "both", "responder"}


def judge(content: Content, sender: str, *, request: bool = False) -> JudgedOffer:
    """Check the offer, or the `request`, of `sender` (bare JID) and return its parts.

    Raises RemoteProtocolError where a part is missing or wrong, TrustError where it is not encrypted in a way that jet
    can use (XEP-0391 section 7: never fall back to plaintext), UnsupportedError for a transport that jet does not know.
    """
    file = content.description
    if file is None or is_request(content) is not request or content.senders not in _SENDERS:
        raise RemoteProtocolError("the peer offered something that is no file", condition="unsupported-applications")
    offered = f"{shown(sender)} offered '{shown(file.name or '')}'"
    cipher, envelope = _security(content, offered)
    size = offered_size(file, may_be_unknown=request or cipher is Cipher.CHUNKED)
    if content.bundle is not None:
        if cipher is not Cipher.CHUNKED or request or content.transfer is not None:
            raise RemoteProtocolError("the peer sent a bundle where none can be", condition="bad-request")
        judge_bundle(content.bundle, size, content.batch)
    if content.transport is None:
        raise RemoteProtocolError("the offer has no transport", condition="bad-request")
    if isinstance(content.transport, UnknownTransport):
        raise UnsupportedError(f"{offered} over {shown(content.transport.namespace)}")
    return JudgedOffer(content, file, cipher, envelope, content.transport, size)


def _security(content: Content, offered: str) -> tuple[Cipher, Envelope]:
    security = content.security
    if security is None:
        raise TrustError(f"{offered} without encryption; refused")
    if security.name not in {None, content.name}:
        raise TrustError(f"{offered} with the encryption of another content; refused")
    cipher = Cipher.named(security.cipher)
    if cipher is None:
        raise TrustError(f"{offered} under an unsupported cipher; refused")
    if security.type != NS_OMEMO or security.envelope is None:
        raise TrustError(f"{offered} in an envelope that jet cannot open; refused")
    return cipher, security.envelope


def check_acceptance(offer: Content, accepted: Content, peer: str) -> None:
    """Refuse an acceptance by `peer` (bare JID) that says another encryption than was offered; most say none.

    Raises TrustError (XEP-0391 section 7).
    """
    offered, said = offer.security, accepted.security
    if offered is None or said is None:
        return
    same = Cipher.named(said.cipher) is Cipher.named(offered.cipher) and said.type == offered.type
    if not same or said.envelope not in {None, offered.envelope}:
        raise TrustError(f"{shown(peer)} accepted another encryption than was offered; nothing was sent")


def yields(ours: Initiate, our_jid: str, theirs: Initiate, their_jid: str) -> bool:
    """Say whether our pending offer gives way to the peer's offer of the same file (XEP-0166 section 7.2.16).

    The lower session id wins, compared as bytes; of two equal ids, the lower full JID.
    """
    return (ours.sid.encode(), our_jid.encode()) > (theirs.sid.encode(), their_jid.encode())
