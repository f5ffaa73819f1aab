"""The names and numbers of bytestreams: DST.ADDR (XEP-0065), block sizes, sequence numbers and base64 (XEP-0047).

The bytes of a SOCKS5 handshake are in `jetcli.protocol.socks5`, the choice of a candidate in
`jetcli.protocol.nomination`. Who sends a block, and when it is acknowledged, is the business of `jetcli.xmpp.inband`.
"""

import binascii
import hashlib
from enum import Enum

#: Bytes of a block before base64 (XEP-0047 section 2.1). It is divisible by 3: full blocks need no padding.
MAX_BLOCK_SIZE = 65535
#: seq is a 16-bit counter (XEP-0047 section 2.2). Libervia 0.9 starts again one block too early, at 65535.
SEQ_MODULO = 65536


def dst_addr(sid: str, owner: str, other: str) -> str:
    """Return DST.ADDR of a bytestream: 40 hex digits of SHA-1 (XEP-0065 section 5.3.2, XEP-0260 section 2.2).

    `sid` is the transport's; `owner` is the full JID of who offered the candidate, `other` that of its peer.
    """
    return hashlib.sha1(f"{sid}{owner}{other}".encode(), usedforsecurity=False).hexdigest()


def strict_base64(text: str) -> bytes:
    """Decode canonical base64 (RFC 4648 section 4): no blanks, no other characters, padding and its bits as encoded.

    XEP-0047 section 6 asks for rejection, not tolerance. Raises ValueError; `b2a_base64` of the result is `text`.
    """
    data = binascii.a2b_base64(text, strict_mode=True)
    # Python takes padding where none belongs, and any bits that padding leaves over: compare the length and last group.
    odd = len(data) % 3
    if len(text) != (len(data) + 2) // 3 * 4:
        raise ValueError("base64 has padding where none belongs")
    if odd and binascii.b2a_base64(data[-odd:], newline=False).decode() != text[-4:]:
        raise ValueError("the last base64 character has bits that mean nothing")
    return data


def sequence_number(block: int, modulo: int = SEQ_MODULO) -> int:
    """Return the seq of a bytestream's `block`-th block, from 0."""
    return block % modulo


class Window:
    """How many blocks of a bytestream may wait for their acknowledgement at once.

    It opens with every block that is acknowledged soon, up to 32 blocks or a MiB, and closes quickly when a server
    throttles: whatever is in flight then delays every other stanza of both sides.
    """

    BLOCKS = 32
    SIZE = 1024 * 1024
    SOON_S = 2.0

    def __init__(self, block_size: int) -> None:
        self._limit = max(min(self.BLOCKS, self.SIZE // block_size), 1)
        self.size = min(4, self._limit)

    def acknowledged(self, round_trip_s: float) -> None:
        """Note that a block was acknowledged after so many seconds."""
        self.size = min(self.size + 1, self._limit) if round_trip_s <= self.SOON_S else max(self.size // 2, 1)


class Verdict(Enum):
    """What a sequence number says about its block."""

    NEXT = "in order"
    REPEATED = "already used"
    LOST = "out of order"


class SequenceCheck:
    """Judge the sequence numbers of one direction of a bytestream (XEP-0047 section 2.2).

    They start again after 65535, or at `modulo` where the peer is known for that, or never, as Conversations counts;
    the first block where these differ decides which it is. `recent` is how many blocks back a number counts as
    repeated; further away, blocks are missing.
    """

    def __init__(self, modulo: int = SEQ_MODULO, *, recent: int = 64) -> None:
        self._recent = recent
        self._block = 0
        self._wraps = {SEQ_MODULO, modulo, 0}

    def take(self, seq: int) -> Verdict:
        """Judge the next block's number; NEXT moves on to the one after it."""
        agreeing = {wrap for wrap in self._wraps if seq == _wrapped(self._block, wrap)}
        if agreeing:
            self._wraps = agreeing
            self._block += 1
            return Verdict.NEXT
        before = range(max(self._block - self._recent, 0), self._block)
        used = any(seq == _wrapped(block, wrap) for block in before for wrap in self._wraps)
        return Verdict.REPEATED if used else Verdict.LOST


def _wrapped(block: int, modulo: int) -> int:
    return block % modulo if modulo else block
