import hashlib
import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetcli.errors import IntegrityError, InterruptedTransferError, JetError, RemoteProtocolError, UnsupportedError
from jetcli.protocol.cipher import CHUNK, ChunkedOpener, ChunkedSealer, PlainOpener, PlainSealer, stream_key
from jetcli.protocol.model import TAG_SIZE, TransportSecret
from jetcli.protocol.policy import GCM_LIMIT

VECTORS = Path(__file__).parents[1] / "vectors"
CHUNKED = json.loads((VECTORS / "chunked-cipher.json").read_text(encoding="utf-8"))
PLAIN = json.loads((VECTORS / "plain-cipher.json").read_text(encoding="utf-8"))

SECRET = TransportSecret(bytes(range(16)), bytes(range(12)))
KEY = stream_key(TransportSecret(bytes(range(32)), bytes(range(12))), bytes(32))
LENGTHS = [0, 1, 15, 16, 17, 65_535, 65_536, 65_537, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def by_name(vector):
    return vector["name"]


def secret_of(vector):
    return TransportSecret(bytes.fromhex(vector["transport_key"]), bytes.fromhex(vector["iv"]))


def plaintext_of(vector):
    return bytes.fromhex(vector["plaintext"]) if "plaintext" in vector else pattern(vector["plaintext_length"])


def seal_plain(secret, plaintext):
    out = memoryview(bytearray(len(plaintext) + TAG_SIZE))
    length = PlainSealer(secret, len(plaintext)).seal_into(plaintext, out, final=True)
    return bytes(out[:length])


def open_plain(secret, size, stream, cuts=()):
    opener, out = PlainOpener(secret, size), memoryview(bytearray(len(stream)))
    plaintext = b""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        opened = opener.update_into(memoryview(stream)[start:end], out)
        plaintext += out[:opened]
    opener.finish()
    return plaintext


def pieces(plaintext):
    return [plaintext[at : at + CHUNK] for at in range(0, len(plaintext), CHUNK)] or [b""]


def seal_chunks(key, plaintext):
    sealer, out = ChunkedSealer(key), memoryview(bytearray(CHUNK + TAG_SIZE))
    parts = pieces(plaintext)
    return [bytes(out[: sealer.seal_into(part, out, final=at == len(parts))]) for at, part in enumerate(parts, 1)]


def open_chunks(key, chunks, *, told=True):
    opener, out = ChunkedOpener(key), memoryview(bytearray(CHUNK))
    plaintext = b""
    for at, chunk in enumerate(chunks, 1):
        plaintext += out[: opener.open_into(chunk, out, final=at == len(chunks) if told else None)]
    assert opener.finished
    return plaintext


# The plain cipher.


@pytest.mark.parametrize("vector", PLAIN["vectors"], ids=by_name)
def test_the_plain_cipher_is_that_of_the_vectors(vector):
    plaintext = plaintext_of(vector)
    assert seal_plain(secret_of(vector), plaintext).hex() == vector["stream"]
    assert open_plain(secret_of(vector), len(plaintext), bytes.fromhex(vector["stream"])) == plaintext


@pytest.mark.parametrize("vector", PLAIN["refused"], ids=by_name)
def test_an_altered_plain_stream_is_refused(vector):
    reference = PLAIN["vectors"][0]
    with pytest.raises(JetError) as caught:
        open_plain(secret_of(reference), len(plaintext_of(reference)), bytes.fromhex(vector["stream"]))
    assert caught.value.code == vector["outcome"]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_plain_stream_opens_to_what_was_sealed(length):
    assert open_plain(SECRET, length, seal_plain(SECRET, pattern(length))) == pattern(length)


def test_sealing_a_plain_stream_does_not_depend_on_its_buffers():
    sealer, out = PlainSealer(SECRET, 300), memoryview(bytearray(300))
    stream = b""
    for start, end in [(0, 1), (1, 1), (1, 200), (200, 299)]:
        stream += out[: sealer.seal_into(pattern(300)[start:end], out, final=False)]
    stream += out[: sealer.seal_into(pattern(300)[299:], out, final=True)]
    assert stream == seal_plain(SECRET, pattern(300))


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 320), max_size=8))
def test_opening_a_plain_stream_does_not_depend_on_how_the_network_splits_it(plaintext, cuts):
    assert open_plain(SECRET, len(plaintext), seal_plain(SECRET, plaintext), cuts) == plaintext


@settings(deadline=None)
@given(st.binary(max_size=100), st.data())
def test_any_flip_cut_or_extension_of_a_plain_stream_is_refused(plaintext, data):
    stream = bytearray(seal_plain(SECRET, plaintext))
    at = data.draw(st.integers(0, len(stream) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "extend"])):
        case "flip":
            stream[at] ^= 1 << data.draw(st.integers(0, 7))
            expected = IntegrityError
        case "cut":
            del stream[at:]
            expected = InterruptedTransferError
        case _:
            stream += b"x"
            expected = RemoteProtocolError
    with pytest.raises(expected):
        open_plain(SECRET, len(plaintext), bytes(stream), [at])


def test_the_last_sixteen_bytes_are_never_given_out():
    opener, out = PlainOpener(SECRET, 5), memoryview(bytearray(64))
    stream = memoryview(seal_plain(SECRET, b"hello"))
    assert opener.update_into(stream[:-1], out) == 5
    assert opener.missing == 1
    assert opener.update_into(stream[-1:], out) == 0


def test_a_key_seals_no_more_than_its_limit():
    PlainSealer(SECRET, GCM_LIMIT)
    with pytest.raises(UnsupportedError):
        PlainSealer(SECRET, GCM_LIMIT + 1)


def test_a_key_opens_no_more_than_its_limit():
    PlainOpener(SECRET, GCM_LIMIT)
    with pytest.raises(RemoteProtocolError) as caught:
        PlainOpener(SECRET, GCM_LIMIT + 1)
    assert caught.value.condition == "media-error"


@pytest.mark.parametrize(("data", "final"), [(b"123456", False), (b"1234", True)], ids=["more", "fewer"])
def test_a_plain_sealer_takes_exactly_its_size(data, final):
    with pytest.raises(ValueError, match="size"):
        PlainSealer(SECRET, 5).seal_into(data, memoryview(bytearray(64)), final=final)


# The chunked cipher.


@pytest.mark.parametrize("vector", CHUNKED["vectors"], ids=by_name)
def test_the_chunked_cipher_is_that_of_the_vectors(vector):
    key = stream_key(secret_of(vector), bytes.fromhex(vector["transcript_sha256"]))
    assert key.hex() == vector["stream_key"]
    chunks = seal_chunks(key, plaintext_of(vector))
    assert [chunk[-TAG_SIZE:].hex() for chunk in chunks] == vector["tags"]
    stream = b"".join(chunks)
    if "stream" in vector:
        assert stream.hex() == vector["stream"]
    else:
        assert (len(stream), hashlib.sha256(stream).hexdigest()) == (vector["stream_length"], vector["stream_sha256"])
    assert open_chunks(key, chunks) == plaintext_of(vector)


@pytest.mark.parametrize("told", [True, False], ids=["size known", "size unknown"])
@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_open_to_what_was_sealed(length, told):
    assert open_chunks(KEY, seal_chunks(KEY, pattern(length)), told=told) == pattern(length)


@pytest.mark.parametrize("length", [0, 1, 300, CHUNK])
@pytest.mark.parametrize("sealer", [lambda _: ChunkedSealer(KEY), lambda length: PlainSealer(SECRET, length)])
def test_a_piece_may_be_sealed_where_it_lies(sealer, length):
    apart, place = (memoryview(bytearray(CHUNK + TAG_SIZE)) for _ in range(2))
    place[:length] = pattern(length)
    sealed = sealer(length).seal_into(place[:length], place, final=True)
    assert sealed == sealer(length).seal_into(pattern(length), apart, final=True)
    assert place[:sealed] == apart[:sealed]


@settings(deadline=None)
@given(st.binary(max_size=100), st.data())
def test_any_flip_cut_or_extension_of_a_chunk_is_refused(plaintext, data):
    chunk = bytearray(seal_chunks(KEY, plaintext)[0])
    at = data.draw(st.integers(0, len(chunk) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "extend"])):
        case "flip":
            chunk[at] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del chunk[at:]
        case _:
            chunk += b"x"
    with pytest.raises(IntegrityError):
        open_chunks(KEY, [bytes(chunk)], told=data.draw(st.booleans()))


def test_chunks_that_change_places_are_refused():
    first, second, third = seal_chunks(KEY, pattern(2 * CHUNK + 1))
    with pytest.raises(IntegrityError):
        open_chunks(KEY, [second, first, third])


def test_a_repeated_chunk_is_refused():
    first, *_ = seal_chunks(KEY, pattern(2 * CHUNK))
    with pytest.raises(IntegrityError):
        open_chunks(KEY, [first, first], told=False)


def test_a_chunk_that_is_not_final_cannot_end_a_stream_of_known_size():
    first, _ = seal_chunks(KEY, pattern(CHUNK + 1))
    with pytest.raises(IntegrityError):
        open_chunks(KEY, [first])


def test_nothing_opens_behind_the_final_chunk():
    opener, out = ChunkedOpener(KEY), memoryview(bytearray(CHUNK))
    (chunk,) = seal_chunks(KEY, b"all")
    opener.open_into(chunk, out, final=True)
    with pytest.raises(RemoteProtocolError):
        opener.open_into(chunk, out, final=None)


def test_a_chunk_that_does_not_open_may_be_received_again():
    opener, out = ChunkedOpener(KEY), memoryview(bytearray(CHUNK))
    (chunk,) = seal_chunks(KEY, b"all")
    with pytest.raises(IntegrityError):
        opener.open_into(b"\0" * len(chunk), out, final=True)
    assert out[: opener.open_into(chunk, out, final=True)] == b"all"


@pytest.mark.parametrize(
    ("length", "final"),
    [(CHUNK - 1, False), (CHUNK + 1, True)],
    ids=["a short chunk that is not final", "a long chunk"],
)
def test_only_the_final_chunk_is_shorter_and_none_is_longer(length, final):
    with pytest.raises(ValueError, match="chunk"):
        ChunkedSealer(KEY).seal_into(bytes(length), memoryview(bytearray(2 * CHUNK)), final=final)


def test_nothing_is_sealed_behind_the_final_chunk():
    sealer, out = ChunkedSealer(KEY), memoryview(bytearray(64))
    sealer.seal_into(b"all", out, final=True)
    with pytest.raises(ValueError, match="chunk"):
        sealer.seal_into(b"more", out, final=True)


@pytest.mark.parametrize(("key", "iv"), [(16, 12), (32, 16)], ids=["key of 16 bytes", "IV of 16 bytes"])
def test_the_chunked_cipher_takes_only_its_own_sizes_of_key_and_iv(key, iv):
    with pytest.raises(ValueError, match="32 bytes"):
        stream_key(TransportSecret(bytes(key), bytes(iv)), bytes(32))


def test_the_example_in_the_documentation_is_the_first_vector():
    vector = CHUNKED["vectors"][0]
    text = (VECTORS.parents[1] / "docs" / "chunked-cipher.md").read_text(encoding="utf-8")
    for field in ("transport_key", "iv", "transcript_sha256", "stream_key", "plaintext"):
        assert vector[field] in text
    assert f"{vector['stream'][:32]} {vector['stream'][32:]}" in text
