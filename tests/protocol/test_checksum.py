import hashlib

import pytest

from jetcli.protocol.checksum import checksum, proves
from jetcli.protocol.model import Hash

PLAIN = hashlib.sha256(b"plaintext").digest()
WIRE = hashlib.sha256(b"ciphertext and tag").digest()
OTHER = hashlib.sha256(b"something else").digest()


def verdict(*hashes):
    return proves(hashes, sha256=PLAIN, wire_sha256=WIRE)


@pytest.mark.parametrize(
    "value",
    [PLAIN, PLAIN.hex().encode(), PLAIN.hex().upper().encode(), WIRE, WIRE.hex().encode()],
    ids=["plaintext", "plaintext in hex", "plaintext in capital hex", "wire", "wire in hex"],
)
def test_sha256_of_plaintext_or_wire_proves_the_file_in_every_spelling(value):
    assert verdict(Hash("sha-256", value)) is True


@pytest.mark.parametrize(
    "value",
    [OTHER, OTHER.hex().encode(), PLAIN[:-1], PLAIN + b"\0", b"\0", b"x" * 64],
    ids=["other file", "other file in hex", "cut", "longer", "one byte", "64 bytes that are no hex"],
)
def test_a_sha256_that_fits_nothing_contradicts_the_file(value):
    assert verdict(Hash("sha-256", value)) is False


@pytest.mark.parametrize(
    "hashes",
    [
        (),
        (Hash("sha-256"),),
        (Hash("sha-256", b""),),
        (Hash("sha-1", hashlib.sha1(b"plaintext").digest()),),
        (Hash("md5", hashlib.md5(b"plaintext").digest()),),
        (Hash("sha-1", PLAIN),),
        (Hash("sha3-256", OTHER),),
    ],
    ids=["none", "announced only", "empty", "sha-1", "md5", "sha-1 by name", "unknown"],
)
def test_weak_unknown_and_missing_hashes_prove_nothing(hashes):
    assert verdict(*hashes) is None


def test_a_wrong_weak_hash_beside_a_right_one_changes_nothing():
    assert verdict(Hash("sha-1", b"wrong"), Hash("sha-256", WIRE)) is True


def test_a_wrong_sha256_beside_a_right_one_contradicts_the_file():
    assert verdict(Hash("sha-256", PLAIN), Hash("sha-256", OTHER)) is False


def test_a_stream_without_a_wire_digest_is_judged_by_its_plaintext():
    assert proves([Hash("sha-256", PLAIN)], sha256=PLAIN) is True
    assert proves([Hash("sha-256", WIRE)], sha256=PLAIN) is False


@pytest.mark.parametrize("hex_text", [False, True])
def test_what_jet_announces_it_also_accepts(hex_text):
    assert verdict(*checksum(PLAIN, hex_text=hex_text).hashes) is True


def test_the_hex_spelling_is_lower_case_text():
    assert checksum(PLAIN, hex_text=True).hashes[0].value == PLAIN.hex().encode()
