import socket

import pytest

from jetcli.trial.tap import Tap


@pytest.fixture
def target():
    """A listener that the tap leads to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        yield listener


def through(tap, target):
    near = socket.create_connection(("127.0.0.1", tap.port), timeout=10)
    far, _ = target.accept()
    far.settimeout(10)
    return near, far


def read_all(end):
    return b"".join(iter(lambda: end.recv(65_536), b""))


def test_both_ways_are_passed_on_and_written_down_apart(target, tmp_path):
    with Tap(target.getsockname(), tmp_path) as tap:
        near, far = through(tap, target)
        with near, far:
            near.sendall(b"from the side that dialled")
            near.shutdown(socket.SHUT_WR)
            assert read_all(far) == b"from the side that dialled"
            far.sendall(b"after its end, the answer")
            far.shutdown(socket.SHUT_WR)
            assert read_all(near) == b"after its end, the answer"
    assert (tmp_path / "1-out").read_bytes() == b"from the side that dialled"
    assert (tmp_path / "1-back").read_bytes() == b"after its end, the answer"
    assert tap.carried == 51


def test_each_connection_has_recordings_of_its_own(target, tmp_path):
    with Tap(target.getsockname(), tmp_path) as tap:
        for text in (b"one", b"two"):
            near, far = through(tap, target)
            with near, far:
                near.sendall(text)
                assert far.recv(3) == text
    assert sorted((tmp_path / name).read_bytes() for name in ("1-out", "2-out")) == [b"one", b"two"]


def test_closing_ends_connections_that_are_still_open(target, tmp_path):
    with Tap(target.getsockname(), tmp_path) as tap:
        near, far = through(tap, target)
    with near, far:
        assert far.recv(1) == b""


def test_nobody_behind_the_tap_ends_the_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with Tap(address, tmp_path) as tap, socket.create_connection(("127.0.0.1", tap.port), timeout=10) as near:
        assert near.recv(1) == b""
