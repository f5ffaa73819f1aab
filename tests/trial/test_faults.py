"""The faulty connection of the test tree does what its name says; other tests rely on it."""

import socket
import time

import pytest


@pytest.fixture
def target():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


@pytest.fixture
def through(faulty, target):
    """Connect through a faulty connection: `through(cut_after=5)` is its two ends and itself."""
    ends = []

    def connect(**faults):
        connection = faulty(target.getsockname(), **faults)
        near = socket.create_connection(("127.0.0.1", connection.port), timeout=10)
        far, _ = target.accept()
        far.settimeout(10)
        ends.extend((near, far))
        return near, far, connection

    yield connect
    for end in ends:
        end.close()


def read_all(end):
    return b"".join(iter(lambda: end.recv(65_536), b""))


def test_without_a_fault_everything_passes_both_ways(through):
    near, far, connection = through()
    near.sendall(b"x" * 100_000)
    near.shutdown(socket.SHUT_WR)
    assert read_all(far) == b"x" * 100_000
    far.sendall(b"answer")
    far.close()
    assert read_all(near) == b"answer"
    assert connection.carried == 100_006


def test_a_cut_lets_exactly_so_many_bytes_pass(through):
    near, far, _ = through(cut_after=70_000)
    near.sendall(b"x" * 100_000)
    assert len(read_all(far)) == 70_000


def test_a_cut_by_reset_is_an_error_on_both_sides(through):
    near, far, connection = through(reset=True)
    near.sendall(b"hello")
    assert far.recv(5) == b"hello"
    connection.cut()
    for end in (near, far):
        with pytest.raises(ConnectionResetError):
            end.recv(1)


def test_a_stall_lasts_until_it_is_ended(through):
    near, far, connection = through(stall_after=3)
    near.sendall(b"abcdef")
    assert far.recv(6) == b"abc"
    far.settimeout(0.1)
    with pytest.raises(TimeoutError):
        far.recv(1)
    far.settimeout(10)
    connection.move()
    assert far.recv(6) == b"def"


def test_latency_does_not_limit_the_rate(through):
    near, far, _ = through(delay_s=0.2)
    began = time.monotonic()
    for _ in range(20):
        near.sendall(b"x" * 1000)
    near.shutdown(socket.SHUT_WR)
    assert len(read_all(far)) == 20_000
    assert 0.2 <= time.monotonic() - began < 2


def test_a_rate_slows_the_bytes_down(through):
    near, far, _ = through(rate=100_000)
    began = time.monotonic()
    near.sendall(b"x" * 30_000)
    near.shutdown(socket.SHUT_WR)
    assert len(read_all(far)) == 30_000
    assert time.monotonic() - began > 0.1


def test_a_refused_connection_ends_at_once(faulty, target):
    connection = faulty(target.getsockname(), refuse=True)
    with socket.create_connection(("127.0.0.1", connection.port), timeout=10) as near:
        assert near.recv(1) == b""
