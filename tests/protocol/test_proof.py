"""The proof that a receiver holds the beginning of a file."""

import base64
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jetcli.protocol.model import Prefix, TransportSecret
from jetcli.protocol.proof import prefix_proof, proves_prefix

SECRET = TransportSecret(bytes(range(32)), bytes(range(12)))
DIGEST = hashlib.sha256(b"the beginning").digest()


def test_the_proof_is_what_is_written_down_for_other_implementers():
    key = HKDF(SHA256(), 32, SECRET.iv, b"urn:jetcli:resume:0 prefix").derive(SECRET.key)
    expected = hmac.new(key, (13).to_bytes(8, "big") + DIGEST, "sha256").digest()
    assert prefix_proof(SECRET, 13, DIGEST) == Prefix(13, expected)
    assert base64.b64encode(expected) == b"WPQ9I8FuhtyEULIYX1ZSSiWM035gWQL1Hoa/MMJA3r8="


def test_a_proof_is_believed_for_its_own_bytes_and_session_only():
    said = prefix_proof(SECRET, 13, DIGEST)
    assert proves_prefix(said, SECRET, 13, DIGEST)
    assert not proves_prefix(said, SECRET, 12, DIGEST)
    assert not proves_prefix(said, SECRET, 13, hashlib.sha256(b"another").digest())
    assert not proves_prefix(said, TransportSecret(SECRET.key, bytes(12)), 13, DIGEST)
    assert not proves_prefix(said, TransportSecret(bytes(32), SECRET.iv), 13, DIGEST)


@pytest.mark.parametrize("proof", [b"", b"\0" * 32, b"\0" * 31, DIGEST])
def test_anything_else_proves_nothing(proof):
    assert not proves_prefix(Prefix(13, proof), SECRET, 13, DIGEST)
