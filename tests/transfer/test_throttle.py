"""The limit on bytes a second, with a clock that moves only while a stream waits."""

import pytest

from jetcli.transfer.throttle import Throttle


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


class Pipe:
    """A channel that keeps what is sent, and has endless bytes to receive."""

    def __init__(self) -> None:
        self.patience = lambda: False
        self.pieces: list[int] = []
        self.aborted = False

    def recv_into(self, buffer) -> int:
        self.pieces.append(len(buffer))
        return len(buffer)

    def sendall(self, data) -> None:
        self.pieces.append(len(data))

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def time():
    return Time()


def test_bytes_take_their_time(time):
    throttle = Throttle(1000, time.clock)
    for _ in range(50):
        throttle.take(100, time.pause)
    assert time.now == pytest.approx(104.9), "the last bytes may go at once, what follows has to wait"


def test_what_was_not_used_is_not_saved_up(time):
    throttle = Throttle(1000, time.clock)
    throttle.take(100, time.pause)
    time.now += 60.0
    for _ in range(11):
        throttle.take(100, time.pause)
    assert time.now == pytest.approx(161.0)


def test_two_streams_share_one_limit(time):
    throttle, waited = Throttle(1000, time.clock), []
    for _ in range(4):
        throttle.take(500, waited.append)
    assert waited == pytest.approx([0.0, 0.5, 1.0, 1.5])


def test_without_a_limit_nothing_waits_and_the_channel_is_the_same():
    throttle, pipe = Throttle(None), Pipe()
    throttle.take(10**9, pytest.fail)
    assert throttle.slowed(pipe) is pipe


def test_a_large_buffer_goes_in_small_steps():
    pipe = Pipe()
    slow = Throttle(1_000_000).slowed(pipe)
    slow.abort()  # so that nothing has to wait
    slow.sendall(memoryview(bytes(250_000)))
    assert pipe.pieces == [100_000, 100_000, 50_000]
    assert slow.recv_into(memoryview(bytearray(150_000))) == 100_000


def test_an_aborted_channel_waits_no_more():
    pipe = Pipe()
    slow = Throttle(1).slowed(pipe)
    slow.abort()
    slow.sendall(memoryview(bytes(100)))  # which would take 100 s
    assert pipe.aborted
    assert sum(pipe.pieces) == 100


def test_it_is_known_while_a_stream_waits():
    throttle, seen = Throttle(1000), []
    throttle.take(1, lambda _seconds: seen.append(throttle.waiting))
    assert (seen, throttle.waiting) == ([True], False)


def test_the_patience_of_the_channel_is_that_of_what_it_slows():
    pipe = Pipe()
    slow = Throttle(1).slowed(pipe)
    slow.patience = lambda: True
    assert pipe.patience()
    assert slow.patience()
