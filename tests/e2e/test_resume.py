"""A transfer that broke goes on from where it stopped, whoever is started again and whatever was killed."""

import json
import signal

import pytest

SIZE = 32_000_000
STALL = 20_000_000
#: What may be sent twice: 8 MiB between two notes of the receiver, and what was on its way.
TWICE = 10_000_000
NOT_RESUMABLE = 11


@pytest.fixture
def broken(over, receiver, jet):
    """Break a transfer half-way by killing: `connection = broken(pair, "sender", "receiver")`.

    Both processes have ended afterwards, and the connection would carry bytes again.
    """

    def bring(pair, *killed, size=SIZE, send=(), receive=()):
        romeo, juliet = pair
        connection = over(romeo, juliet, network='idle = "2s"', stall_after=STALL)
        romeo.file("film.mkv", size)
        receiving = receiver(juliet, "--json", *receive)
        sending = jet(romeo, "--json", "send", "film.mkv", *send, juliet.jid)
        receiving.event("progress", lambda event: event["bytes"] > 18_000_000)
        for process, name in ((sending, "sender"), (receiving, "receiver")):
            if name in killed:
                process.signal(signal.SIGKILL)
        if not killed:
            connection.cut()
        assert sending.finished().code in {-9, 10}, sending
        assert receiving.finished().code in {-9, 10}, receiving
        connection.move()
        connection.carried = 0
        [part] = juliet.parts
        assert list(juliet.saved) == [part.name]
        return connection

    return bring


def whole(pair, connection) -> None:
    """The file is there and equal, and what had arrived was not sent again."""
    romeo, juliet = pair
    assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}
    assert connection.carried < SIZE - STALL + TWICE


EITHER = [(), ("sender",), ("receiver",), ("sender", "receiver")]


@pytest.mark.parametrize("killed", EITHER, ids=lambda killed: "+".join(killed) or "nobody")
def test_the_receiver_asks_for_the_rest(new_pair, broken, jet, killed):
    romeo, juliet = new_pair
    connection = broken(new_pair, *killed)
    serving = jet(romeo, "receive", "--accept-all", "--forever")
    serving.ready()
    resuming = jet(juliet, "--json", "resume").finished()
    assert resuming.code == 0, (resuming, serving)
    whole(new_pair, connection)
    assert resuming.events[-1]["files"] == 1
    assert resuming.event("file")["size"] == SIZE
    assert json.loads(jet(juliet, "--json", "resume", "--list").finished().stdout.splitlines()[0])["type"] != "transfer"


@pytest.mark.parametrize("killed", EITHER, ids=lambda killed: "+".join(killed) or "nobody")
def test_the_sender_offers_the_rest(new_pair, broken, receiver, jet, killed):
    romeo, juliet = new_pair
    connection = broken(new_pair, *killed)
    receiving = receiver(juliet)
    resuming = jet(romeo, "resume", "film.mkv").finished()
    assert resuming.code == 0, (resuming, receiving)
    assert receiving.finished().code == 0, receiving
    whole(new_pair, connection)


def test_both_are_told_to_resume_at_once(new_pair, broken, jet):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    both = [jet(home, "resume", "--retry", "8") for home in (romeo, juliet)]
    assert [process.finished().code for process in both] == [0, 0], both
    whole(new_pair, connection)
