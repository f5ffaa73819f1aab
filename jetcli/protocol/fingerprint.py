"""Fingerprints of OMEMO devices, as clients print them and as people and QR codes hand them around.

A fingerprint is the Curve25519 identity key in hex without the type byte: eight groups of eight digits. Pure text; it
does not know whose keys are trusted.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from msgspec import Struct

KEY_SIZE = 32

_SEPARATORS = re.compile(r"[\s:-]+")
_DEVICE = re.compile(r"omemo-sid-([0-9]{1,10})=([0-9a-fA-F]{64,66})", re.ASCII)
#: What stands in front of a Curve25519 key on the wire; some clients copy it along.
_TYPE_BYTE = "05"


class NamedKey(Struct, frozen=True):
    """A device as an `xmpp:` URI names it; `jid` is bare."""

    jid: str
    device_id: int
    identity_key: bytes


def fingerprint(identity_key: bytes) -> str:
    """Return an identity key as OMEMO clients print it: eight groups of eight hex digits."""
    digits = identity_key.hex()
    return " ".join(digits[start : start + 8] for start in range(0, len(digits), 8))


def parse_fingerprint(text: str) -> bytes:
    """Return the identity key that a fingerprint spells, however it is grouped; raise ValueError where it is none."""
    digits = _SEPARATORS.sub("", text).lower()
    if len(digits) == 2 * KEY_SIZE + 2 and digits.startswith(_TYPE_BYTE):
        digits = digits[2:]
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("a fingerprint has 64 hex digits")
    return bytes.fromhex(digits)


def omemo_uri(jid: str, keys: Iterable[tuple[int, bytes]]) -> str:
    """Return `xmpp:JID?omemo-sid-ID=KEY;...`, which Conversations, Dino and others scan (XEP-0147's form)."""
    pairs = ";".join(f"omemo-sid-{device_id}={key.hex()}" for device_id, key in keys)
    return f"xmpp:{quote(jid, safe='@')}?{pairs}"


def parse_omemo_uri(text: str) -> list[NamedKey]:
    """Return the devices that an `xmpp:` URI names; raise ValueError where it names none."""
    address, _, query = text.removeprefix("xmpp:").partition("?")
    jid = unquote(address).partition("/")[0]
    keys = [
        NamedKey(jid, int(found[1]), parse_fingerprint(found[2]))
        for found in map(_DEVICE.fullmatch, re.split("[;&]", query))
        if found is not None
    ]
    if not (text.startswith("xmpp:") and jid and keys):
        raise ValueError("not an xmpp: address with OMEMO fingerprints")
    return keys
