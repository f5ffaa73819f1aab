"""The proof that a receiver holds the beginning of a file, for a sender that cannot vouch for it any more.

Bound to the transport secret of the session, so that it says nothing to anyone else: a digest of the content itself
would tell an eavesdropping server which file it is. Pure: the digest of the bytes comes from whoever can read them.
"""

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jetcli.protocol.model import NS_RESUME, Prefix, TransportSecret

_INFO = f"{NS_RESUME} prefix".encode()


def prefix_proof(secret: TransportSecret, length: int, sha256: bytes) -> Prefix:
    """Return the proof for the first `length` bytes, whose SHA-256 (32 bytes) is `sha256`."""
    key = HKDF(SHA256(), 32, secret.iv, _INFO).derive(secret.key)
    return Prefix(length, hmac.digest(key, length.to_bytes(8) + sha256, "sha256"))


def proves_prefix(said: Prefix, secret: TransportSecret, length: int, sha256: bytes) -> bool:
    """Say whether `said` proves that the peer holds the first `length` bytes that we hashed to `sha256`."""
    expected = prefix_proof(secret, length, sha256)
    return said.length == length and hmac.compare_digest(said.proof, expected.proof)
