"""Pipes as sources and outputs."""

import os
import threading

import pytest
from waiting import until

from jetcli.errors import ClosedOutputError, InterruptedTransferError, LocalFileError
from jetcli.files.pipe import HeldBackOutput, PipeOutput, PipeSource, SpooledSource


@pytest.fixture
def pipe():
    """Both ends of a pipe, closed at the end where they are not yet."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def stop_once(condition, end):
    """Stop an end of a pipe from another thread as soon as the condition holds."""

    def stop():
        try:
            until(condition, "it never came so far", limit_s=10, every_s=0.001)
        finally:
            end.stop()

    threading.Thread(target=stop).start()


def test_a_pipe_is_read_in_order_and_once(pipe):
    os.write(pipe[1], b"what's in a name")
    with PipeSource(pipe[0], "name") as source:
        buffer = memoryview(bytearray(4))
        assert (source.read_into(buffer, 0), bytes(buffer)) == (4, b"what")
        with pytest.raises(LocalFileError, match="cannot be read again"):
            source.read_into(buffer, 0)


def test_more_than_was_announced_is_a_change(pipe):
    os.write(pipe[1], b"12345")
    with PipeSource(pipe[0], "name", size=4) as source:
        source.read_into(memoryview(bytearray(4)), 0)
        assert "more than the 4 bytes" in source.changed()


def test_reading_that_waits_is_stopped_from_another_thread(pipe):
    with PipeSource(pipe[0], "name") as source:
        stop_once(lambda: source.waiting, source)
        with pytest.raises(InterruptedTransferError):
            source.read_into(memoryview(bytearray(4)), 0)
        assert source.waiting


def test_writing_that_waits_is_stopped_from_another_thread(pipe):
    output = PipeOutput(pipe[1])
    stop_once(lambda: output.position and output.waiting, output)
    with pytest.raises(InterruptedTransferError):
        output.write(memoryview(bytes(10_000_000)))
    assert 0 < output.position < 10_000_000
    output.discard()


def test_a_reader_that_has_left_is_told_apart(pipe):
    os.close(pipe[0])
    writing = os.dup(pipe[1])
    try:
        closed = PipeOutput(writing)
        with pytest.raises(ClosedOutputError) as caught:
            closed.write(memoryview(b"x"))
        assert caught.value.exit_code == 141
        closed.discard()
    finally:
        os.close(writing)


def test_what_is_held_back_comes_out_only_when_it_is_published(pipe):
    output = HeldBackOutput(PipeOutput(pipe[1]), None)
    output.write(memoryview(b"not yet "))
    output.write(memoryview(b"verified"))
    os.set_blocking(pipe[0], False)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 100)
    output.publish()
    assert os.read(pipe[0], 100) == b"not yet verified"


def test_what_is_held_back_and_discarded_never_comes_out(pipe):
    output = HeldBackOutput(PipeOutput(pipe[1]), 3)
    output.write(memoryview(b"bad"))
    output.discard()
    os.close(pipe[1])
    assert os.read(pipe[0], 100) == b""


def test_a_spooled_stream_has_a_size(pipe):
    os.write(pipe[1], b"12345")
    os.close(pipe[1])
    with PipeSource(pipe[0], "name") as source, SpooledSource.of(source) as spooled:
        buffer = memoryview(bytearray(3))
        assert (spooled.name, spooled.size, spooled.read_into(buffer, 1)) == ("name", 5, 3)
        assert bytes(buffer) == b"234"
