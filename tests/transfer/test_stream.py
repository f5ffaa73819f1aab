import hashlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetcli.errors import (
    IntegrityError,
    InterruptedTransferError,
    JetError,
    LocalFileError,
    RemoteProtocolError,
    UnsupportedError,
)
from jetcli.files.sink import Sink
from jetcli.files.source import Source
from jetcli.protocol.cipher import CHUNK
from jetcli.protocol.model import TAG_SIZE, Cipher, TransportSecret
from jetcli.protocol.policy import GCM_LIMIT
from jetcli.transfer import intake, stream
from jetcli.transfer.stream import receive_stream, send_stream
from jetcli.xmpp.channel import SocketChannel

DIGEST = hashlib.sha256(b"transcript").digest()
SECRETS = {cipher: TransportSecret(bytes(range(cipher.key_size)), bytes(range(12))) for cipher in Cipher}
LENGTHS = [0, 1, 15, 16, 17, 65_535, 65_537, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5]
every_cipher = pytest.mark.parametrize("cipher", Cipher, ids=lambda cipher: cipher.name.lower())


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


class Text:
    """A source in memory. `read_at_once` bounds a read, as a pipe does."""

    name = "report.pdf"

    def __init__(self, data, *, read_at_once=None, change=None):
        self.data, self.read_at_once, self.change = data, read_at_once, change
        self.changed = lambda: self.change

    def read_into(self, buffer, offset):
        data = self.data[offset : offset + len(buffer)][: self.read_at_once]
        buffer[: len(data)] = data
        return len(data)


class Wire:
    """A channel that keeps what is sent, and gives out `stream` in pieces of the sizes `splits`, cyclically."""

    def __init__(self, stream=b"", splits=(), *, end=None):
        self.stream, self.end = memoryview(stream), end
        self.splits = chain(splits, repeat(1 << 30))
        self.sent, self.finished = bytearray(), False

    def recv_into(self, buffer):
        if not self.stream and self.end is not None:
            raise self.end
        length = min(len(buffer), next(self.splits), len(self.stream))
        buffer[:length] = self.stream[:length]
        self.stream = self.stream[length:]
        return length

    def sendall(self, data):
        assert not self.finished
        self.sent += data

    def finish_sending(self):
        self.finished = True

    def drain(self, deadline_s, enough=None):
        return len(self.stream)

    def close(self):
        raise AssertionError("the channel belongs to someone else")

    abort = close


class Written(bytearray):
    """A sink in memory."""

    def write(self, data):
        self.extend(data)


def send(channel, source, cipher, *, size, **options):
    return send_stream(
        channel,
        source,
        cipher,
        SECRETS[cipher],
        transcript=DIGEST if cipher is Cipher.CHUNKED else None,
        size=size,
        **{"progress": lambda position: None, "stop": threading.Event()} | options,
    )


def receive(channel, sink, cipher, *, size, **options):
    return receive_stream(
        channel,
        sink,
        cipher,
        SECRETS[cipher],
        transcript=DIGEST if cipher is Cipher.CHUNKED else None,
        size=size,
        **{"progress": lambda position: None, "stop": threading.Event(), "name": "report.pdf"} | options,
    )


def sealed(cipher, data, **options):
    wire = Wire()
    send(wire, Text(data), cipher, **{"size": len(data)} | options)
    assert wire.finished
    return bytes(wire.sent)


def received(cipher, wire, size, **options):
    sink = Written()
    receive(wire, sink, cipher, size=size, **options)
    return bytes(sink)


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


# What was altered is refused, and nothing of it is believed.


@every_cipher
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=100), drawn=st.data())
def test_any_flip_cut_or_extension_is_refused(cipher, data, drawn):
    stream = bytearray(sealed(cipher, data))
    at = drawn.draw(st.integers(0, len(stream) - 1))
    match drawn.draw(st.sampled_from(["flip", "cut", "extend"])):
        case "flip":
            stream[at] ^= 1 << drawn.draw(st.integers(0, 7))
            expected = IntegrityError
        case "cut":
            del stream[at:]
            expected = InterruptedTransferError
        case _:
            stream += b"x"
            expected = RemoteProtocolError
    with pytest.raises(expected):
        received(cipher, Wire(stream, [at + 1]), len(data))


@every_cipher
def test_a_stream_whose_tag_was_altered_says_so_by_name(cipher):
    stream = bytearray(sealed(cipher, b"12345"))
    stream[-1] ^= 1
    with pytest.raises(IntegrityError) as caught:
        received(cipher, Wire(stream), 5)
    assert caught.value.message == "'report.pdf' was altered on the way; nothing was saved"


def test_chunks_that_were_verified_before_an_altered_one_stay():
    stream, sink = bytearray(sealed(Cipher.CHUNKED, pattern(3 * CHUNK))), Written()
    stream[2 * (CHUNK + TAG_SIZE)] ^= 1
    with pytest.raises(IntegrityError, match="first 524,288 bytes are verified and kept"):
        receive(Wire(stream), sink, Cipher.CHUNKED, size=3 * CHUNK)
    assert sink == pattern(2 * CHUNK)


def test_an_offer_that_was_edited_on_the_way_opens_nothing():
    sink = Written()
    with pytest.raises(IntegrityError, match="nothing was saved"):
        receive_stream(
            Wire(sealed(Cipher.CHUNKED, b"12345")),
            sink,
            Cipher.CHUNKED,
            SECRETS[Cipher.CHUNKED],
            transcript=hashlib.sha256(b"another name").digest(),
            size=5,
            progress=lambda position: None,
            stop=threading.Event(),
        )
    assert sink == b""


@every_cipher
def test_more_bytes_than_announced_break_the_protocol(cipher):
    with pytest.raises(RemoteProtocolError, match="the peer sent more than it announced") as caught:
        received(cipher, Wire(sealed(cipher, b"12345") + b"x"), 5)
    assert caught.value.condition == "media-error"


def test_bytes_behind_a_final_chunk_of_unknown_position_break_the_protocol():
    stream = sealed(Cipher.CHUNKED, pattern(CHUNK)) + b"x"
    with pytest.raises(RemoteProtocolError):
        received(Cipher.CHUNKED, Wire(stream), None)


@every_cipher
def test_a_file_of_another_size_than_announced_is_refused(cipher):
    with pytest.raises(JetError):
        received(cipher, Wire(sealed(cipher, b"123456")), 5)
    with pytest.raises(InterruptedTransferError):
        received(cipher, Wire(sealed(cipher, b"1234")), 5)


# What ends early is interrupted.


@every_cipher
@pytest.mark.parametrize("end", [None, ConnectionResetError()], ids=["closed", "reset"])
def test_a_stream_one_byte_short_tells_how_far_it_came(cipher, end):
    stream = sealed(cipher, pattern(5000))[:-1]
    with pytest.raises(InterruptedTransferError) as caught:
        received(cipher, Wire(stream, end=end), 5000)
    assert caught.value.message == "connection lost after 4,999 of 5,000 bytes"


@every_cipher
def test_a_stream_that_brings_nothing_came_no_further_than_it_began(cipher):
    with pytest.raises(InterruptedTransferError, match="after 40 of 5,000 bytes"):
        received(cipher, Wire(), 5000, offset=40)


@pytest.mark.parametrize("kept", [0, 1, 15, 16, CHUNK, CHUNK + 15, CHUNK + 16, CHUNK + 17, CHUNK + 40])
def test_a_cut_of_a_stream_of_unknown_length_is_interrupted_and_keeps_whole_chunks(kept):
    sink = Written()
    stream = sealed(Cipher.CHUNKED, pattern(CHUNK + 25), size=None)[:kept]
    with pytest.raises(InterruptedTransferError):
        receive(Wire(stream), sink, Cipher.CHUNKED, size=None)
    assert sink == (pattern(CHUNK) if kept >= CHUNK + TAG_SIZE else b"")


@every_cipher
def test_a_silent_peer_interrupts_the_transfer(cipher):
    with pytest.raises(InterruptedTransferError, match="the peer was silent too long after 0 of 5 bytes"):
        received(cipher, Wire(end=TimeoutError()), 5)


@every_cipher
def test_stopping_ends_the_receiver_at_the_next_buffer(cipher):
    stop, sink = threading.Event(), Written()
    wire = Wire(sealed(cipher, pattern(3 * CHUNK)))
    with pytest.raises(InterruptedTransferError, match="stopped after"):
        receive(wire, sink, cipher, size=3 * CHUNK, stop=stop, progress=lambda position: stop.set())
    assert len(sink) <= CHUNK


@every_cipher
def test_stopping_ends_the_sender_at_the_next_buffer(cipher):
    stop, wire = threading.Event(), Wire()
    with pytest.raises(InterruptedTransferError, match="stopped after 262,144 of 786,432 bytes"):
        send(wire, Text(pattern(3 * CHUNK)), cipher, size=3 * CHUNK, stop=stop, progress=lambda position: stop.set())
    assert len(wire.sent) <= CHUNK + TAG_SIZE
    assert not wire.finished


@every_cipher
def test_a_receiver_that_is_aborted_while_it_waits_was_stopped(cipher):
    stop = threading.Event()

    class Aborted(Wire):
        def recv_into(self, buffer):
            stop.set()
            raise ConnectionAbortedError

    with pytest.raises(InterruptedTransferError, match="stopped"):
        received(cipher, Aborted(), 5, stop=stop)


@every_cipher
@pytest.mark.parametrize(
    ("error", "said"),
    [(BrokenPipeError(), "connection lost"), (TimeoutError(), "the peer was silent too long")],
    ids=["lost", "silent"],
)
def test_a_sender_tells_how_far_it_came(cipher, error, said):
    class Failing(Wire):
        def sendall(self, data):
            if self.sent:
                raise error
            super().sendall(data)

    with pytest.raises(InterruptedTransferError, match=f"{said} after 262,144 of 524,288 bytes"):
        send(Failing(), Text(pattern(2 * CHUNK)), cipher, size=2 * CHUNK)


def test_an_error_of_the_sink_is_told_as_it_is():
    class Full(Written):
        def write(self, data):
            raise LocalFileError("no space")

    with pytest.raises(LocalFileError, match="no space"):
        receive(Wire(sealed(Cipher.CHUNKED, b"12345")), Full(), Cipher.CHUNKED, size=5, hasher=True)


# A source that changes is never vouched for.


@every_cipher
def test_a_source_that_changed_is_sent_without_its_end(cipher):
    source, wire = Text(pattern(CHUNK + 5)), Wire()

    def edit(position):
        source.change = "it was modified"

    with pytest.raises(LocalFileError) as caught:
        send(wire, source, cipher, size=CHUNK + 5, progress=edit)
    assert caught.value.message == "'report.pdf' changed while it was sent: it was modified"
    assert not wire.finished
    with pytest.raises(InterruptedTransferError):
        received(cipher, Wire(wire.sent), CHUNK + 5)


def test_a_change_in_a_large_source_is_noticed_long_before_its_end(monkeypatch):
    monkeypatch.setattr(stream, "_LOOK_AT_SOURCE", 2 * CHUNK)
    source, wire = Text(pattern(9 * CHUNK)), Wire()

    def edit(position):
        source.change = "it was modified"

    with pytest.raises(LocalFileError):
        send(wire, source, Cipher.CHUNKED, size=9 * CHUNK, progress=edit)
    assert len(wire.sent) == 2 * (CHUNK + TAG_SIZE)


@every_cipher
def test_a_source_that_lost_its_end_is_sent_without_its_tag(cipher):
    wire = Wire()
    with pytest.raises(LocalFileError, match="ended before its size"):
        send(wire, Text(pattern(CHUNK + 4)), cipher, size=CHUNK + 5)
    assert not wire.finished


def test_a_name_of_our_own_is_shown_escaped():
    source = Text(b"12345", change="it was modified")
    source.name = "a\x1bb"
    with pytest.raises(LocalFileError) as caught:
        send(Wire(), source, Cipher.CHUNKED, size=5)
    assert "\x1b" not in caught.value.message


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
