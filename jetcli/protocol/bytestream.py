"""The rules of in-band bytestreams that need no stanza: block sizes, sequence numbers, base64 (XEP-0047, XEP-0261).

Those of SOCKS5 bytestreams are in `jetcli.protocol.socks5` and `jetcli.protocol.nomination`. Decides about numbers and
text; who sends a block, and when it is acknowledged, is the business of `jetcli.xmpp.inband`.
"""

import binascii
from enum import Enum

from jetcli.errors import RemoteProtocolError

#: XEP-0047 section 2.1. It is divisible by 3, so that full blocks need no padding.
MAX_BLOCK_SIZE = 65535
#: seq is a 16-bit counter (XEP-0047 section 2.2).
SEQUENCE_MODULUS = 65536
#: What Libervia 0.9 counts by instead: 65534 is followed by 0 (interop.md section 4).
SHORT_SEQUENCE_MODULUS = 65535


def agreed_block_size(offered: int, answered: int) -> int:
    """Return the block size of an in-band transport from the offer's and the answer's (XEP-0261 section 2.2).

    An answer above the offer counts as the offer. Raises RemoteProtocolError where there is no room for a byte.
    """
    agreed = min(offered, answered, MAX_BLOCK_SIZE)
    if agreed < 1:
        raise RemoteProtocolError(f"a block size of {agreed} was asked for", condition="failed-transport")
    return agreed


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


def sequence_number(block: int, *, short: bool = False) -> int:
    """Return the seq of a bytestream's `block`-th block, from 0; `short` counts as Libervia 0.9 does."""
    return block % (SHORT_SEQUENCE_MODULUS if short else SEQUENCE_MODULUS)


class Verdict(Enum):
    """What a sequence number says about its block."""

    NEXT = "in order"
    REPEATED = "already used"
    LOST = "out of order"


class SequenceCheck:
    """Judge the sequence numbers of one direction of a bytestream (XEP-0047 section 2.2).

    They wrap to 0 after 65535. Two more habits are understood, and told apart at the first block where they differ:
    Conversations never wraps; Libervia wraps after 65534, which is believed only with `short`. `recent` is how many
    blocks back a number counts as repeated; further away, blocks are missing.
    """

    def __init__(self, *, short: bool = False, recent: int = 64) -> None:
        self._recent = recent
        self._block = 0
        self._wraps = [SEQUENCE_MODULUS, 0] + ([SHORT_SEQUENCE_MODULUS] if short else [])

    def take(self, seq: int) -> Verdict:
        """Judge the next block's number; NEXT moves on to the one after it."""
        agreeing = [wrap for wrap in self._wraps if seq == _wrapped(self._block, wrap)]
        if agreeing:
            self._wraps = agreeing
            self._block += 1
            return Verdict.NEXT
        before = range(max(self._block - self._recent, 0), self._block)
        used = any(seq == _wrapped(block, wrap) for block in before for wrap in self._wraps)
        return Verdict.REPEATED if used else Verdict.LOST


def _wrapped(block: int, modulus: int) -> int:
    return block % modulus if modulus else block
