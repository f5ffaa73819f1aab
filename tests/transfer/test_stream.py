"""What is sent arrives, under both ciphers, however the network splits it."""

import hashlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import Text, Wire, Written, every_cipher, pattern, receive, received, sealed, send

from jetcli.errors import (
    IntegrityError,
    InterruptedTransferError,
    LocalFileError,
    RemoteProtocolError,
    UnsupportedError,
)
from jetcli.files.sink import Sink
from jetcli.files.source import Source
from jetcli.protocol.cipher import CHUNK
from jetcli.protocol.model import TAG_SIZE, Cipher
from jetcli.protocol.policy import GCM_LIMIT
from jetcli.transfer import intake
from jetcli.xmpp.channel import SocketChannel

LENGTHS = [0, 1, 15, 16, 17, 65_535, 65_537, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5]


# What arrives is what was sent.


@every_cipher
@pytest.mark.parametrize("length", LENGTHS)
def test_a_stream_arrives_as_it_was_sent(cipher, length):
    assert received(cipher, Wire(sealed(cipher, pattern(length))), length) == pattern(length)


@every_cipher
@settings(max_examples=40, deadline=None)
@given(
    length=st.sampled_from([0, 1, 16, 300, CHUNK, CHUNK + 1]),
    splits=st.lists(st.integers(1, 300) | st.integers(1, CHUNK + 99), max_size=20),
)
def test_receiving_does_not_depend_on_how_the_network_splits_the_stream(cipher, length, splits):
    assert received(cipher, Wire(sealed(cipher, pattern(length)), splits), length) == pattern(length)


@every_cipher
def test_a_stream_may_come_byte_by_byte(cipher):
    assert received(cipher, Wire(sealed(cipher, pattern(500)), repeat(1)), 500) == pattern(500)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_stream_of_unknown_length_ends_with_its_final_chunk(length):
    stream = sealed(Cipher.CHUNKED, pattern(length), size=None)
    assert stream == sealed(Cipher.CHUNKED, pattern(length))
    assert received(Cipher.CHUNKED, Wire(stream), None) == pattern(length)


def test_a_source_that_is_a_pipe_may_give_little_at_once():
    source, wire = Text(pattern(CHUNK + 5), read_at_once=1000), Wire()
    send(wire, source, Cipher.CHUNKED, size=None)
    assert received(Cipher.CHUNKED, Wire(wire.sent), None) == pattern(CHUNK + 5)


@pytest.mark.parametrize("length", [None, 0, 9, CHUNK + 1])
@every_cipher
def test_a_stream_may_carry_a_part_of_a_file(cipher, length):
    data, part = pattern(2 * CHUNK), {"offset": 1000, "length": length}
    wire = Wire(sealed(cipher, data, **part))
    end = None if length is None else 1000 + length
    assert received(cipher, wire, len(data), **part) == data[1000:end]


def test_an_offset_of_the_whole_size_carries_an_empty_stream():
    stream = sealed(Cipher.CHUNKED, b"12345", offset=5)
    assert len(stream) == TAG_SIZE
    assert received(Cipher.CHUNKED, Wire(stream), 5, offset=5) == b""


def test_a_stream_cannot_begin_behind_the_end_of_the_file():
    with pytest.raises(ValueError, match="behind"):
        sealed(Cipher.CHUNKED, b"12345", offset=6)


@every_cipher
def test_both_sides_hash_the_plaintext_when_they_are_asked_to(cipher):
    data, wire = pattern(9 * CHUNK + 1), Wire()
    sent = send(wire, Text(data), cipher, size=len(data), hasher=True)
    got = receive(Wire(wire.sent, repeat(70_000)), Written(), cipher, size=len(data), hasher=True)
    digest = hashlib.sha256(data).digest()
    assert (sent.length, sent.sha256) == (got.length, got.sha256) == (len(data), digest)
    wire_digest = None if cipher is Cipher.CHUNKED else hashlib.sha256(wire.sent).digest()
    assert got.wire_sha256 == wire_digest


@every_cipher
def test_nothing_is_hashed_unasked(cipher):
    got = receive(Wire(sealed(cipher, b"12345")), Written(), cipher, size=5)
    assert (got.length, got.sha256, got.wire_sha256) == (5, None, None)


@every_cipher
def test_progress_is_the_position_in_the_file(cipher):
    data, told = pattern(2 * CHUNK), []
    stream = sealed(cipher, data, offset=10, progress=told.append)
    assert told == [CHUNK + 10, 2 * CHUNK]
    told.clear()
    received(cipher, Wire(stream), len(data), offset=10, progress=told.append)
    assert told[0] > 10
    assert told == sorted(told)
    assert told[-1] == 2 * CHUNK


@every_cipher
def test_a_file_goes_through_a_real_socket_into_a_real_part_file(cipher, tmp_path):
    (tmp_path / "report.pdf").write_bytes(os.urandom(3 * CHUNK + 77))
    left, right = socket.socketpair()
    target = tmp_path / "target"
    target.mkdir()
    outgoing, arriving = SocketChannel(left), SocketChannel(right)
    with Source.open(tmp_path / "report.pdf") as source, ThreadPoolExecutor() as pool:
        sink = Sink.create(target, "report.pdf", "k3v9", size=source.size, on_exist="fail")
        sending = pool.submit(send, outgoing, source, cipher, size=source.size, hasher=True)
        got = receive(arriving, sink, cipher, size=source.size, hasher=True)
        assert sending.result(10).sha256 == got.sha256
        assert sink.publish(None).read_bytes() == (tmp_path / "report.pdf").read_bytes()
    outgoing.close()
    arriving.close()


# Limits of the plain cipher.


@pytest.mark.parametrize("cipher", [Cipher.AES_128_GCM, Cipher.AES_256_GCM])
def test_a_file_too_large_for_the_plain_cipher_is_refused_before_anything_is_sent(cipher):
    class Untouchable(Text):
        def read_into(self, buffer, offset):
            raise AssertionError("read")

    wire = Wire()
    with pytest.raises(UnsupportedError):
        send(wire, Untouchable(b""), cipher, size=GCM_LIMIT + 1)
    assert not wire.sent
    with pytest.raises(RemoteProtocolError):
        received(cipher, Wire(), GCM_LIMIT + 1)


def test_the_chunked_cipher_has_no_such_limit():
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedTransferError, match="stopped after 0 of"):
        send(Wire(), Text(bytes(CHUNK)), Cipher.CHUNKED, size=GCM_LIMIT + 1, stop=stop)


# The last bytes that a proxy holds back.


class HoldingBack(Wire):
    """A proxy that gives out the last `held` bytes only once the receiver has reacted."""

    def __init__(self, stream, held):
        super().__init__(stream[:-held])
        self.held, self.released, self.silences = stream[-held:], threading.Event(), []

    def recv_into(self, buffer):
        if not self.stream and self.held:
            assert self.released.wait(10), "nobody noticed that the tail does not come"
            self.stream, self.held = memoryview(self.held), b""
        return super().recv_into(buffer)

    def stalled(self, missing):
        self.silences.append(missing)
        self.released.set()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(intake, "TAIL_SILENCE_S", 0.01)


@pytest.mark.parametrize("held", [1, TAG_SIZE, 3408, 8191])
def test_a_tail_that_does_not_come_is_told_once_and_still_verified(impatient, held):
    wire = HoldingBack(sealed(Cipher.AES_128_GCM, pattern(200_000)), held)
    assert received(Cipher.AES_128_GCM, wire, 200_000, tail_stalled=wire.stalled) == pattern(200_000)
    assert wire.silences == [held]


def test_a_tail_that_comes_late_and_altered_is_refused_all_the_same(impatient):
    stream = bytearray(sealed(Cipher.AES_128_GCM, pattern(200_000)))
    stream[-1] ^= 1
    wire = HoldingBack(bytes(stream), 3408)
    with pytest.raises(IntegrityError):
        received(Cipher.AES_128_GCM, wire, 200_000, tail_stalled=wire.stalled)
    assert wire.silences == [3408]


def test_a_tail_that_comes_at_once_is_not_remarked(monkeypatch):
    told = []
    monkeypatch.setattr(intake, "TAIL_SILENCE_S", 3600)
    wire = Wire(sealed(Cipher.AES_128_GCM, pattern(9000)), repeat(1000))
    received(Cipher.AES_128_GCM, wire, 9000, tail_stalled=told.append)
    assert told == []


# Threads.


@every_cipher
def test_no_thread_is_left_behind_by_a_stream_that_failed(cipher):
    before = set(threading.enumerate())
    with pytest.raises(InterruptedTransferError):
        received(cipher, Wire(sealed(cipher, pattern(CHUNK + 1))[:-1]), CHUNK + 1, hasher=True)
    with pytest.raises(LocalFileError):
        send(Wire(), Text(b"1234"), cipher, size=5, hasher=True)
    assert set(threading.enumerate()) <= before
