"""The arithmetic of SCRAM (RFC 5802, RFC 7677): keys from a password, proofs and signatures from keys.

Keys open the account as the password does, and say nothing of it; the server's salt and iteration count are part of
them. Owns what a server may ask for; knows nothing of streams, of channel binding, or of where keys are kept.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Self

from msgspec import Struct

#: The hashes that we know by their names in SCRAM, the best first, and by their names in Python.
HASHES = {"SHA-256": "sha256", "SHA-1": "sha1"}

#: Fewer make guessing cheap for whoever steals keys (RFC 7677 section 4); more keep us busy for seconds.
MIN_ITERATIONS = 4096
MAX_ITERATIONS = 2_000_000

# RFC 5802 section 7: the nonce is printable, without comma; extensions may follow, and are not needed.
_CHALLENGE = re.compile(rb"r=([\x21-\x2b\x2d-\x7e]{1,1024}),s=([A-Za-z0-9+/=]{4,1024}),i=([1-9][0-9]{0,8})(?:,.*)?")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What opens an account by SCRAM instead of its password: ClientKey and ServerKey, and what they were made with.

    `hash_name` is one of HASHES. Raises ValueError where the values cannot belong together.
    """

    hash_name: str
    salt: bytes = field(repr=False)
    iterations: int
    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what are no keys."""
        if self.hash_name not in HASHES:
            raise ValueError("the hash is not known")
        check_iterations(self.iterations)
        length = hashlib.new(HASHES[self.hash_name]).digest_size
        if not self.salt or {len(self.client_key), len(self.server_key)} != {length}:
            raise ValueError("the keys have not the hash's length")

    @classmethod
    def derive(cls, hash_name: str, password: bytes, salt: bytes, iterations: int) -> Self:
        """Return the keys of `password` (after SASLprep, in UTF-8); raise ValueError where `iterations` are refused."""
        check_iterations(iterations)
        algorithm = HASHES[hash_name]
        salted = hashlib.pbkdf2_hmac(algorithm, password, salt, iterations)
        keys = (hmac.digest(salted, label, algorithm) for label in (b"Client Key", b"Server Key"))
        return cls(hash_name, salt, iterations, *keys)

    def proof(self, exchange: bytes) -> bytes:
        """Return the ClientProof for `exchange`, which RFC 5802 calls AuthMessage."""
        algorithm = HASHES[self.hash_name]
        signature = hmac.digest(hashlib.new(algorithm, self.client_key).digest(), exchange, algorithm)
        return bytes(ours ^ theirs for ours, theirs in zip(self.client_key, signature, strict=True))

    def signed(self, exchange: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is the ServerSignature for `exchange`: only who knows these keys can make it."""
        return hmac.compare_digest(hmac.digest(self.server_key, exchange, HASHES[self.hash_name]), signature)


def check_iterations(count: int) -> None:
    """Raise ValueError where `count` is too few or too many."""
    if not MIN_ITERATIONS <= count <= MAX_ITERATIONS:
        much = "few" if count < MIN_ITERATIONS else "many"
        raise ValueError(f"the server asks for too {much} iterations ({count})")


class Challenge(Struct, frozen=True):
    """A server's first message: the nonce of both sides, and what to make the keys with."""

    nonce: str
    salt: bytes
    iterations: int

    @classmethod
    def parse(cls, message: bytes, our_nonce: str) -> Self:
        """Read `message`; raise ValueError, in words of ours, where it is none, or no answer to `our_nonce`."""
        found = _CHALLENGE.fullmatch(message)
        if found is None:
            raise ValueError("the server broke the protocol")
        nonce = found[1].decode("ascii")
        if not nonce.startswith(our_nonce) or nonce == our_nonce:
            raise ValueError("the nonce of the server does not continue ours")
        iterations = int(found[3])
        check_iterations(iterations)
        return cls(nonce, _bytes(found[2]), iterations)


def signature_in(message: bytes) -> bytes:
    """Return the ServerSignature of a server's last message; raise ValueError where there is none."""
    label, _, value = message.partition(b",")[0].partition(b"=")
    if label != b"v":
        raise ValueError("the server did not sign it")
    return _bytes(value)


def _bytes(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("the server broke the protocol") from None
