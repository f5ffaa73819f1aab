"""What a whole-file checksum of a peer proves, and how to spell ours (XEP-0234 section 8.3, XEP-0300).

Clients disagree on what they hash and how they write it down: XEP-0234 means the raw digest of the plaintext, Libervia
sends that digest as hex text, Conversations hashes ciphertext and tag. All three prove the same bytes. The digests are
computed beside the transfer by `jetcli.transfer`; this module only compares.
"""

import binascii
from collections.abc import Iterable

from jetcli.protocol.model import Checksum, Hash

#: The only algorithm that is computed. SHA-1 and MD5 can be forged and prove nothing; others cannot be judged.
ALGORITHM = "sha-256"


def proves(hashes: Iterable[Hash], *, sha256: bytes, wire_sha256: bytes | None = None) -> bool | None:
    """Say whether the peer's `hashes` fit the received file: True, False, or None where they prove nothing.

    `sha256` is the digest of the plaintext, `wire_sha256` of ciphertext and tag, 32 bytes each. One SHA-256 value that
    fits neither contradicts the file, whatever the others say.
    """
    digests = [_raw(given.value) for given in hashes if given.algo == ALGORITHM and given.value]
    if not digests:
        return None
    return all(digest in {sha256, wire_sha256} for digest in digests)


def _raw(value: bytes) -> bytes:
    if len(value) != 64:
        return value
    try:
        return binascii.unhexlify(value)
    except binascii.Error:
        return value


def checksum(sha256: bytes, *, hex_text: bool = False) -> Checksum:
    """Return the `<checksum/>` to announce for a plaintext digest; `hex_text` spells it as Libervia compares it."""
    return Checksum((Hash(ALGORITHM, sha256.hex().encode() if hex_text else sha256),))
