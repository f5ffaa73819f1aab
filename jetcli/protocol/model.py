"""The values that the protocol speaks of: what a Jingle stanza says, without its XML.

Every value is frozen. `jetcli.xmpp.payloads` turns stanzas into these and back; `jetcli.protocol.session` decides with
them. A field that the peer left out is None: what may be left out is judged by the session, not here.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

#: Jingle (XEP-0166) and its parts.
NS_JINGLE = "urn:xmpp:jingle:1"
NS_JINGLE_MESSAGE = "urn:xmpp:jingle-message:0"
NS_JINGLE_ERRORS = "urn:xmpp:jingle:errors:1"
NS_FILE_TRANSFER = "urn:xmpp:jingle:apps:file-transfer:5"
NS_FILE_TRANSFER_ERRORS = "urn:xmpp:jingle:apps:file-transfer:errors:0"
NS_SOCKS5_TRANSPORT = "urn:xmpp:jingle:transports:s5b:1"
NS_INBAND_TRANSPORT = "urn:xmpp:jingle:transports:ibb:1"
NS_BYTESTREAMS = "http://jabber.org/protocol/bytestreams"
NS_INBAND = "http://jabber.org/protocol/ibb"
NS_HASHES = "urn:xmpp:hashes:2"
NS_HASH_SHA256 = "urn:xmpp:hash-function-text-names:sha-256"

#: Jingle Encrypted Transports (XEP-0391) and JET-OMEMO (XEP-0396).
NS_JET = "urn:xmpp:jingle:jet:0"
NS_JET_OMEMO = "urn:xmpp:jingle:jet-omemo:0"
NS_OMEMO = "eu.siacs.conversations.axolotl"

#: Namespaces of jet's own: the chunked cipher, resumption, the files of one command, and many of them in one stream.
NS_CHUNKED = "urn:jetcli:chunked:0"
NS_RESUME = "urn:jetcli:resume:0"
NS_BATCH = "urn:jetcli:batch:0"
NS_BUNDLE = "urn:jetcli:bundle:0"

IV_SIZE = 12
TAG_SIZE = 16


class Cipher(StrEnum):
    """The ciphers of a stream, named by the URI that jet sends for each (XEP-0391 section 5)."""

    AES_128_GCM = "urn:xmpp:ciphers:aes-128-gcm-nopadding"
    AES_256_GCM = "urn:xmpp:ciphers:aes-256-gcm-nopadding"
    CHUNKED = "urn:jetcli:ciphers:aes-256-gcm-chunked:0"

    @property
    def key_size(self) -> int:
        """Bytes of transport key that this cipher takes."""
        return 16 if self is Cipher.AES_128_GCM else 32

    @classmethod
    def named(cls, uri: str | None) -> "Cipher | None":
        """Return the cipher that a peer names, or None; XEP-0391 spells its URIs with and without `:0`."""
        for cipher in cls:
            if uri in {cipher.value, f"{cipher.value}:0"}:
                return cipher
        return None


@dataclass(frozen=True, slots=True)
class TransportSecret:
    """Transport key (16 or 32 bytes) and IV (12 bytes) of one stream (XEP-0391 section 2). Never stored."""

    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class EnvelopeKey:
    """The transport key as one device can read it: a ratchet message, which may carry a key exchange."""

    device: int
    data: bytes = field(repr=False)
    prekey: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """A legacy OMEMO element that carries a transport secret (XEP-0396 section 3).

    `sender` is the id of the device that sealed it. `payload` is absent except towards and from clients that insist.
    """

    sender: int
    iv: bytes = field(repr=False)
    keys: tuple[EnvelopeKey, ...] = ()
    payload: bytes | None = field(default=None, repr=False)


class Security(Struct, frozen=True):
    """`<security/>` of a content (XEP-0391 section 4.1): `cipher` and `type` as the peer spelt them."""

    name: str | None
    cipher: str | None
    type: str | None
    envelope: Envelope | None


class Range(Struct, frozen=True):
    """A part of a file: `length` bytes from `offset`, to the end when None (XEP-0234 section 4.4)."""

    offset: int = 0
    length: int | None = None


class Hash(Struct, frozen=True):
    """A digest as it was received: `value` is the base64-decoded text, or None when there was none (XEP-0300)."""

    algo: str
    value: bytes | None = None


class FileDescription(Struct, frozen=True):
    """`<file/>` (XEP-0234 section 3). `name` is the peer's claim: `policy.local_name` judges it.

    `size` counts plaintext bytes; it is None when the sender does not know it (only under the chunked cipher).
    `bad_number` keeps a size or range text that is no number, so that the refusal can quote it.
    """

    name: str | None = None
    size: int | None = None
    media_type: str | None = None
    date: str | None = None
    desc: str | None = None
    range: Range | None = None
    hash_used: str | None = None
    hashes: tuple[Hash, ...] = ()
    bad_number: str | None = None


class CandidateType(StrEnum):
    """Where a SOCKS5 candidate leads (XEP-0260 section 2.3)."""

    DIRECT = "direct"
    ASSISTED = "assisted"
    TUNNEL = "tunnel"
    PROXY = "proxy"

    @property
    def preference(self) -> int:
        """Type preference of XEP-0260 section 2.3; shifted left by 16 it starts a priority."""
        return {"direct": 126, "assisted": 120, "tunnel": 110, "proxy": 10}[self.value]


class PathKind(StrEnum):
    """How the bytes travel: straight, through a SOCKS5 proxy, or inside the XMPP streams."""

    DIRECT = "s5b-direct"
    PROXY = "s5b-proxy"
    INBAND = "ibb"


class Candidate(Struct, frozen=True):
    """One address where a bytestream may be reached (XEP-0260 section 2.2)."""

    cid: str
    host: str
    port: int
    jid: str
    priority: int
    type: CandidateType = CandidateType.DIRECT


class Socks5Transport(Struct, frozen=True):
    """SOCKS5 transport of an offer or accept (XEP-0260). `dstaddr` is what the peer says its listener expects."""

    sid: str
    candidates: tuple[Candidate, ...] = ()
    dstaddr: str | None = None


class InbandTransport(Struct, frozen=True):
    """In-band transport (XEP-0261); `block_size` counts bytes before base64."""

    sid: str
    block_size: int


class UnknownTransport(Struct, frozen=True):
    """A transport that jet does not speak; `namespace` is shown in the refusal."""

    namespace: str


Transport = Socks5Transport | InbandTransport | UnknownTransport


class Batch(Struct, frozen=True):
    """Says that a file is the `index`-th (from 1) `of` so many that one command sends (`urn:jetcli:batch:0`)."""

    id: str
    index: int
    of: int


class Content(Struct, frozen=True):
    """`<content/>`: one file on one transport (XEP-0166 section 7.3).

    `transfer` is the sid of the first session of a resumed transfer, and `prove` asks for a proof of what is held
    before anything is sent (both `urn:jetcli:resume:0`). `bundle` is how many small files the stream carries, from the
    one that `batch` names on (`urn:jetcli:bundle:0`); None where it is one file. `first_size` is the size of the first
    of them, to be shown.
    """

    creator: str
    name: str
    senders: str | None = None
    description: FileDescription | None = None
    transport: Transport | None = None
    security: Security | None = None
    transfer: str | None = None
    prove: bool = False
    batch: Batch | None = None
    bundle: int | None = None
    first_size: int | None = None


#: Conditions of jet's own in a `<reason/>`, beside those of XEP-0234.
UNKNOWN_TRANSFER = "unknown-transfer"
SOURCE_CHANGED = "source-changed"
#: The files of a bundle are to be offered one by one.
SINGLY = "singly"


class Reason(Struct, frozen=True):
    """`<reason/>`: a condition of XEP-0166 section 7.4, a text, and the name of an application's own condition."""

    condition: str
    text: str | None = None
    application: str | None = None


class CandidateUsed(Struct, frozen=True):
    """The peer reached our candidate `cid` (XEP-0260 section 2.4)."""

    cid: str


class CandidateError(Struct, frozen=True):
    """The peer reached none of our candidates."""


class Activated(Struct, frozen=True):
    """The owner of the nominated proxy candidate has activated it."""

    cid: str


class ProxyError(Struct, frozen=True):
    """The owner of the nominated proxy candidate could not activate it."""


TransportNote = CandidateUsed | CandidateError | Activated | ProxyError


class Checksum(Struct, frozen=True):
    """`<checksum/>`: what the sender computed over the whole file (XEP-0234 section 8.3)."""

    hashes: tuple[Hash, ...]


class Received(Struct, frozen=True):
    """`<received/>`: the receiver has verified and published the file (XEP-0234 section 8.1)."""


class Ping(Struct, frozen=True):
    """An empty session-info: the peer is alive (XEP-0166 section 6.8)."""


class Prefix(Struct, frozen=True):
    """`<prefix/>`: the receiver's proof that it holds the first `length` bytes (`urn:jetcli:resume:0`)."""

    length: int
    proof: bytes


class MembersEnded(Struct, frozen=True):
    """`<ended/>`: the first `count` members of a bundle are saved, but for those that were `refused`.

    Each refusal, with the number of the member from 1, is told once (`urn:jetcli:bundle:0`).
    """

    count: int
    refused: tuple[tuple[int, Reason], ...] = ()


class Unknown(Struct, frozen=True):
    """A session-info payload that jet does not know; it is answered as unsupported."""

    namespace: str


SessionNote = Checksum | Received | Ping | Prefix | MembersEnded | Unknown


# The actions of XEP-0166 section 7.2 that a file transfer uses. `sid` is the session's.


class Initiate(Struct, frozen=True):
    """session-initiate. `initiator` is the attribute as sent; it must equal the sender's full JID."""

    sid: str
    content: Content
    initiator: str | None = None


class Accept(Struct, frozen=True):
    """session-accept."""

    sid: str
    content: Content
    responder: str | None = None


class TransportInfo(Struct, frozen=True):
    """transport-info for a SOCKS5 transport; `transport_sid` names the bytestream, the rest the content."""

    sid: str
    creator: str
    name: str
    senders: str | None
    transport_sid: str
    note: TransportNote


class TransportReplace(Struct, frozen=True):
    """transport-replace: the initiator proposes another transport (XEP-0166 section 7.2.14)."""

    sid: str
    content: Content


class TransportAccept(Struct, frozen=True):
    """transport-accept."""

    sid: str
    content: Content


class TransportReject(Struct, frozen=True):
    """transport-reject."""

    sid: str
    content: Content


class SessionInfo(Struct, frozen=True):
    """session-info. `creator` and `name` name the content; they are None where the note has none."""

    sid: str
    note: SessionNote
    creator: str | None = None
    name: str | None = None


class Terminate(Struct, frozen=True):
    """session-terminate."""

    sid: str
    reason: Reason


Action = (
    Initiate | Accept | TransportInfo | TransportReplace | TransportAccept | TransportReject | SessionInfo | Terminate
)
