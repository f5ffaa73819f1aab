"""What each known client does differently, and how it is recognised.

The only place where a client's name decides anything. A client is recognised by the identity of its disco#info result,
or by the caps node of its presence where there was no time to ask; whoever is not recognised is treated as the
specifications say, with the tolerance that costs nothing.
"""

from collections.abc import Set as AbstractSet

from msgspec import Struct

from jetcli.protocol.model import (
    NS_BATCH,
    NS_BUNDLE,
    NS_BYTESTREAMS,
    NS_CHUNKED,
    NS_FILE_TRANSFER,
    NS_HASH_SHA256,
    NS_HASHES,
    NS_INBAND,
    NS_INBAND_TRANSPORT,
    NS_JET,
    NS_JET_OMEMO,
    NS_JINGLE,
    NS_JINGLE_MESSAGE,
    NS_RESUME,
    NS_SOCKS5_TRANSPORT,
)


class Quirks(Struct, frozen=True):
    """How to talk to one client; the defaults are what the specifications say.

    `node`: how the caps node in its presence begins.
    `seen`: the versions that this is known of. No version decides anything: most clients tell none before a transfer.
    `blank_payload`: its OMEMO library keeps the IV of an envelope only beside a `<payload/>`.
    `hex_checksum`: it compares a checksum only when the base64 holds hex text.
    `inband`: an in-band transfer can reach it.
    `seq_modulo`: where its in-band sequence numbers start again.
    `written_back`: how many bytes it sends against a stream that it receives; it breaks when they cannot be delivered.
    `asks_from`: files of so many bytes wait for its user.
    `compatible`: its `urn:xmpp:jingle:jet-omemo:0` means what XEP-0396 says; if not, `note` says why.
    """

    client: str = ""
    node: str = ""
    seen: str = ""
    blank_payload: bool = False
    hex_checksum: bool = False
    inband: bool = True
    seq_modulo: int = 65536
    written_back: int = 0
    asks_from: int | None = None
    compatible: bool = True
    note: str = ""


#: The clients that are recognised, by the start of the name in their disco#info identity or by their caps node.
KNOWN = (
    # Acknowledges every in-band block and then marks the file failed; rejects a replaced transport; as receiver seals
    # nothing, and sends the 16-byte tag of that at once (Dino 0.4.2).
    Quirks(
        "Dino",
        node="https://dino.im",
        seen="0.4.2",
        inband=False,
        written_back=16,
        asks_from=5_000_000,
        note="no in-band; accepts up to 5 MB without a click",
    ),
    # Replaces the IV of an envelope without payload by a random one; decodes checksums as text (Libervia 0.9).
    Quirks(
        "Libervia",
        node="https://salut-a-toi.org",
        seen="0.9",
        blank_payload=True,
        hex_checksum=True,
        seq_modulo=65535,
        note="receives only where its user has switched encryption on for you",
    ),
    Quirks("Conversations", node="http://conversations.im", seen="2.12 and 2.13"),
    # Sends key and IV as the text of an OMEMO message, which is not XEP-0396.
    Quirks(
        "aTalk",
        node="https://android.atalk.org",
        seen="its source of July 2026",
        compatible=False,
        note="its encrypted transfers do not follow XEP-0396",
    ),
)


class Deviation(Struct, frozen=True):
    """Something that a client does otherwise than the specifications say, and what jet does about it."""

    client: str
    what: str
    answer: str


_EVERYONE = "taken from everyone"
#: All that is known, also what costs nothing and is taken from whoever does it.
DEVIATIONS = (
    Deviation("Dino", "writes 16 bytes against a stream that it receives", "half-close, drain, close: for everyone"),
    Deviation("Dino", "those 16 bytes break it behind a proxy that closes both ways", "waits for them before the end"),
    Deviation("Dino", "keeps its socket open, so that a proxy holds back the tail", "ends the session, reads on"),
    Deviation("Dino", "acknowledges in-band blocks and loses the file", "no in-band towards it, refused up front"),
    Deviation("Dino", "its OMEMO keys stay prekey for ever", _EVERYONE),
    Deviation("Dino", "goes on publishing prekeys that are used up", "begins the session anew: for everyone"),
    Deviation("Dino", "seals for no device that it never heard from", "refuses with a hint: jet hello"),
    Deviation("Dino", "hangs on an accept without `senders`", "repeated for everyone"),
    Deviation("Dino", "leaves out `name` in `<security/>`", _EVERYONE),
    Deviation("Dino", "offers addresses with a scope id", "passed over"),
    Deviation("Dino", "spells reasons with underscores", _EVERYONE),
    Deviation("Dino", "takes a session-info of one child only", "none of jet's has more"),
    Deviation("Dino", "asks its user about files of 5,000,000 bytes and more", "says so while it waits"),
    Deviation("Libervia", "needs `<desc/>` and `<hash-used/>`, and no `<hash/>`", "so in offers to all but jets"),
    Deviation("Libervia", "loses the IV of an envelope without `<payload/>`", "one blank in it"),
    Deviation("Libervia", "puts key and tag into the envelope, 32 bytes", "the first 16 are the key: for everyone"),
    Deviation("Libervia", "base64 of hex text in checksums", "sent so to it, taken from everyone"),
    Deviation("Libervia", "sends candidate-used before session-accept", "kept until dialling begins"),
    Deviation("Libervia", "counts in-band blocks modulo 65535", "so with it"),
    Deviation("Libervia", "cannot activate its proxy", "follows its transport-replace"),
    Deviation("Libervia", "takes two candidates on one proxy for one", "never repeats the peer's address"),
    Deviation("Conversations", "needs `name` in `<security/>`, and the cipher without `:0`", "so for everyone"),
    Deviation("Conversations", "writes `mediaType`", _EVERYONE),
    Deviation("Conversations", "hashes ciphertext and tag", _EVERYONE),
    Deviation(
        "Conversations", "in-band numbers do not start again, and no `<close/>`", "counts bytes; taken from everyone"
    ),
    Deviation("Conversations", "dials one address after the other, 3 s each", "30 s for all of them"),
    Deviation("Conversations", "never closes a socket first", "counts bytes"),
    Deviation("aTalk", "key and IV as the text of an OMEMO message", "refused with the reason"),
)


def quirks_of(client_name: str | None, node: str | None = None) -> Quirks:
    """Return how to talk to the client whose disco#info identity has this name, or whose presence has this node."""
    name = (client_name or "").casefold()
    for known in KNOWN:
        if name.startswith(known.client.casefold()) or (known.node and (node or "").startswith(known.node)):
            return known
    return Quirks(client=client_name or "")


#: What a client must advertise to receive an encrypted file, with the short names shown in a refusal.
NEEDED = {
    NS_JINGLE: "jingle",
    NS_FILE_TRANSFER: "jingle:file-transfer",
    NS_JET: "jingle:jet",
    NS_JET_OMEMO: "jingle:jet-omemo",
}


class Abilities(Struct, frozen=True):
    """What the client behind one full JID can do, read from its disco#info features."""

    missing: tuple[str, ...]
    socks5: bool
    inband: bool
    chunked: bool
    resumes: bool
    batches: bool
    bundles: bool
    quirks: Quirks

    @property
    def receives(self) -> bool:
        """Whether an encrypted file can be sent to it."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why nothing can be sent to it, or an empty text."""
        if not self.quirks.compatible:
            return self.quirks.note
        if self.missing:
            return f"missing {', '.join(self.missing)}"
        if not (self.socks5 or self.inband):
            return "no transport that jet speaks"
        return ""


def abilities(features: AbstractSet[str], client_name: str | None) -> Abilities:
    """Judge the disco#info features of a client."""
    quirks = quirks_of(client_name)
    inband = NS_INBAND_TRANSPORT in features and quirks.inband
    return Abilities(
        missing=tuple(short for feature, short in NEEDED.items() if feature not in features),
        socks5=NS_SOCKS5_TRANSPORT in features,
        inband=inband,
        chunked=NS_CHUNKED in features,
        resumes=NS_RESUME in features,
        batches=NS_BATCH in features,
        bundles={NS_CHUNKED, NS_BATCH, NS_BUNDLE} <= features,
        quirks=quirks,
    )


#: What every jet advertises; one that only sends leaves out what says that it receives files. All of them answer who
#: continues a transfer that they know.
SENDING = (
    NS_JINGLE,
    NS_SOCKS5_TRANSPORT,
    NS_INBAND_TRANSPORT,
    NS_INBAND,
    NS_BYTESTREAMS,
    NS_RESUME,
)
RECEIVING = (
    *SENDING,
    NS_FILE_TRANSFER,
    NS_JET,
    NS_JET_OMEMO,
    NS_JINGLE_MESSAGE,
    NS_HASHES,
    NS_HASH_SHA256,
    NS_CHUNKED,
    NS_BATCH,
    NS_BUNDLE,
)
