"""What goes wrong with a stream: altered, too long, cut off, stopped, or from a source that changes."""

import hashlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import SECRETS, Text, Wire, Written, every_cipher, pattern, receive, received, sealed, send

from jetcli.errors import (
    IntegrityError,
    InterruptedTransferError,
    JetError,
    LocalFileError,
    RemoteProtocolError,
)
from jetcli.protocol.cipher import CHUNK
from jetcli.protocol.model import TAG_SIZE, Cipher
from jetcli.transfer import stream
from jetcli.transfer.stream import receive_stream

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
