"""Transfers that were broken half-way, for whoever wants to continue them."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

import pytest

#: More than all the buffers of all the kernels between the two processes.
SIZE = 32_000_000
STALL = 20_000_000
#: What may be sent twice: 8 MiB between two notes of the receiver, and what was on its way.
TWICE = 10_000_000


@dataclass(frozen=True)
class Half:
    """The size of a film, after how many bytes its connection stands still, and what had arrived at least by then."""

    size: int = SIZE
    stall: int = STALL
    arrived: int = STALL - 2_000_000
    twice: int = TWICE


@pytest.fixture(scope="session")
def half() -> Half:
    """Say how far `broken` brings a transfer."""
    return Half()


@pytest.fixture
def broken(over, receiver, jet) -> Callable[..., object]:
    """Break a transfer half-way by killing: `connection = broken(pair, "sender", "receiver")`.

    Both processes have ended afterwards, and the connection would carry bytes again.
    """

    def bring(pair, *killed, size=SIZE, name="film.mkv", send=(), receive=()):
        romeo, juliet = pair
        connection = over(romeo, juliet, network='idle = "2s"', stall_after=STALL)
        romeo.file(name, size)
        receiving = receiver(juliet, "--json", *receive)
        sending = jet(romeo, "--json", "send", name, *send, juliet.jid)
        receiving.event("progress", lambda event: event["bytes"] > STALL - 2_000_000)
        for process, killed_one in ((sending, "sender"), (receiving, "receiver")):
            if killed_one in killed:
                process.signal(signal.SIGKILL)
        if not killed:
            connection.cut()
        assert sending.finished().code in {-9, 10}, sending
        assert receiving.finished().code in {-9, 10}, receiving
        connection.move()
        connection.carried = 0
        assert not (juliet.files / name).exists()
        return connection

    return bring


@pytest.fixture
def whole() -> Callable[..., None]:
    """Check that the file is there and equal, and that what had arrived was not sent again."""

    def check(pair, connection) -> None:
        romeo, juliet = pair
        assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}
        assert connection.carried < SIZE - STALL + TWICE

    return check
