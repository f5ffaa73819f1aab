import base64
import dataclasses

import pytest

from jetcli.protocol.scram import MAX_ITERATIONS, Challenge, ScramKeys, signature_in

# The exchanges of RFC 5802 section 5 and RFC 7677 section 3: user "user", password "pencil".
NONCES = {
    "SHA-1": ("fyko+d2lbbFgONRv9qkxdawL", "3rfcNHYJY1ZVvWVs7j"),
    "SHA-256": ("rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
}
SALTS = {"SHA-1": "QSXCR+Q6sek8bf92", "SHA-256": "W22ZaJ0SNY7soEsUEjb6gQ=="}
PROOFS = {"SHA-1": "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "SHA-256": "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="}
SIGNATURES = {"SHA-1": "rmF9pqV8S7suAoZWja4dJRkFsKQ=", "SHA-256": "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}
EACH = pytest.mark.parametrize("hash_name", ["SHA-1", "SHA-256"])


def challenge_of(hash_name):
    return f"r={''.join(NONCES[hash_name])},s={SALTS[hash_name]},i=4096".encode()


def exchange_of(hash_name):
    ours, theirs = NONCES[hash_name]
    return b",".join((f"n=user,r={ours}".encode(), challenge_of(hash_name), f"c=biws,r={ours}{theirs}".encode()))


def keys_of(hash_name):
    challenge = Challenge.parse(challenge_of(hash_name), NONCES[hash_name][0])
    return ScramKeys.derive(hash_name, b"pencil", challenge.salt, challenge.iterations)


@EACH
def test_the_proof_is_that_of_the_standard(hash_name):
    assert base64.b64encode(keys_of(hash_name).proof(exchange_of(hash_name))).decode() == PROOFS[hash_name]


@EACH
def test_the_signature_of_the_standard_is_right_and_no_other_is(hash_name):
    keys, exchange = keys_of(hash_name), exchange_of(hash_name)
    signature = signature_in(f"v={SIGNATURES[hash_name]}".encode())
    assert keys.signed(exchange, signature)
    assert not keys.signed(exchange + b"x", signature)
    assert not keys.signed(exchange, bytes([signature[0] ^ 1]) + signature[1:])
    assert not keys.signed(exchange, signature[:-1])
    assert not keys.signed(exchange, b"")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"r=ours,s=c2FsdA==,i=4096", "does not continue ours"),
        (b"r=theirs,s=c2FsdA==,i=4096", "does not continue ours"),
        (b"r=theirsours,s=c2FsdA==,i=4096", "does not continue ours"),
        (b"r=ours1,s=c2FsdA==,i=4095", r"too few iterations \(4095\)"),
        (b"r=ours1,s=c2FsdA==,i=1", "too few iterations"),
        (f"r=ours1,s=c2FsdA==,i={MAX_ITERATIONS + 1}".encode(), "too many iterations"),
        (b"r=ours1,s=c2FsdA==,i=99999999999999999999", "broke the protocol"),
        (b"r=ours1,s=c2FsdA==,i=-4096", "broke the protocol"),
        (b"r=ours1,s=c2FsdA==", "broke the protocol"),
        (b"r=ours1,s=c2Fsd,i=4096", "broke the protocol"),
        (b"r=ours1,s=,i=4096", "broke the protocol"),
        (b"m=new,r=ours1,s=c2FsdA==,i=4096", "broke the protocol"),
        (b"r=ours\xff,s=c2FsdA==,i=4096", "broke the protocol"),
        (b"", "broke the protocol"),
    ],
)
def test_a_challenge_that_is_none_is_refused(message, reason):
    with pytest.raises(ValueError, match=reason):
        Challenge.parse(message, "ours")


def test_what_a_challenge_says_besides_is_left_alone():
    found = Challenge.parse(b"r=oursTheirs,s=c2FsdA==,i=4096,d=later,x=", "ours")
    assert found == Challenge("oursTheirs", b"salt", 4096)


@pytest.mark.parametrize("message", [b"", b"e=invalid-proof", b"r=c2FsdA==", b"v=c2Fsd", b"v=c2Fs!dA=="])
def test_a_message_without_a_signature_is_refused(message):
    with pytest.raises(ValueError, match="server"):
        signature_in(message)


@pytest.mark.parametrize(
    "change",
    [
        {"hash_name": "MD5"},
        {"salt": b""},
        {"iterations": 4095},
        {"iterations": MAX_ITERATIONS + 1},
        {"client_key": b"short"},
        {"server_key": b""},
        {"hash_name": "SHA-1"},
    ],
)
def test_keys_that_cannot_be_are_refused(change):
    with pytest.raises(ValueError, match=r"hash|iterations"):
        dataclasses.replace(keys_of("SHA-256"), **change)


def test_keys_do_not_show_themselves():
    keys = keys_of("SHA-256")
    for secret in (keys.salt, keys.client_key, keys.server_key):
        assert repr(secret) not in repr(keys)
    assert repr(keys) == "ScramKeys(hash_name='SHA-256', iterations=4096)"
