"""A transfer that breaks half-way, in every way that it can: both sides say so, and nothing unfinished has a name.

The bytes stand still behind a stalled connection whenever a test does something to them, so nothing depends on speed.
"""

import os
import signal
from pathlib import Path

import pytest

# More than all the buffers of all the kernels between the two processes.
SIZE = 40_000_000
STALL = 5_000_000

LOGIN_REFUSED = 4
INTERRUPTED = 10
NOT_RESUMABLE = 11


@pytest.fixture
def halfway(over, receiver, jet):
    """Bring a transfer half-way: `sending, receiving, connection = halfway(pair, network="idle = '1s'")`."""

    def bring(pair, *, send=(), receive=(), size=SIZE, network="", **faults):
        romeo, juliet = pair
        connection = over(romeo, juliet, network=network, stall_after=STALL, **faults)
        romeo.file("film.mkv", size)
        receiving = receiver(juliet, "--json", *receive)
        sending = jet(romeo, "--json", "send", *send, "film.mkv", juliet.jid)
        for process in (sending, receiving):
            process.event("progress", lambda event: event["bytes"] > 3_000_000)
        return sending, receiving, connection

    return bring


def ended(process, code: int) -> None:
    """The process ends with `code`, and the last event is its only result and says the same."""
    assert process.finished().code == code, process
    kinds = [event["type"] for event in process.events]
    assert kinds[-1] == "result", process
    assert kinds.count("result") == 1, process
    assert process.events[-1]["exit"] == code


def kept(home) -> None:
    """There is one part, it holds what was verified, and nothing has the file's name."""
    [part] = home.parts
    assert list(home.saved) == [part.name]
    assert 3_000_000 < part.stat().st_size < SIZE
    assert part.stat().st_mode & 0o777 == 0o600


def test_ctrl_c_at_the_sender(pair, halfway):
    sending, receiving, _ = halfway(pair)
    sending.signal(signal.SIGINT)
    ended(sending, 130)
    ended(receiving, INTERRUPTED)
    kept(pair[1])


def test_ctrl_c_at_the_receiver(pair, halfway):
    sending, receiving, _ = halfway(pair)
    receiving.signal(signal.SIGINT)
    ended(receiving, 130)
    ended(sending, INTERRUPTED)
    kept(pair[1])


@pytest.mark.matrix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_ends_a_receiver_like_ctrl_c(pair, halfway, number):
    sending, receiving, _ = halfway(pair)
    receiving.signal(number)
    ended(receiving, 143)
    ended(sending, INTERRUPTED)
    kept(pair[1])


def test_a_sender_that_is_killed(new_pair, halfway):
    sending, receiving, _ = halfway(new_pair, network='idle = "2s"')
    sending.signal(signal.SIGKILL)
    ended(receiving, INTERRUPTED)
    kept(new_pair[1])


def test_a_receiver_that_is_killed(new_pair, halfway):
    sending, receiving, _ = halfway(new_pair, network='idle = "2s"')
    receiving.signal(signal.SIGKILL)
    ended(sending, INTERRUPTED)
    kept(new_pair[1])


@pytest.mark.parametrize("reset", [False, True])
def test_a_data_connection_that_is_cut(pair, halfway, reset):
    sending, receiving, connection = halfway(pair, reset=reset)
    connection.cut()
    ended(receiving, INTERRUPTED)
    ended(sending, INTERRUPTED)
    kept(pair[1])
    for process in (receiving, sending):
        assert process.event("error")["resumable"] is True
        transfer = process.events[-1]["resume_id"]
        assert transfer == process.event("offer")["id"]
        assert process.hint == process.event("error")["hint"] == f"jet resume {transfer}"


def test_a_data_connection_that_falls_silent(pair, halfway):
    sending, receiving, _ = halfway(pair, network='idle = "1s"')
    ended(receiving, INTERRUPTED)
    ended(sending, INTERRUPTED)
    kept(pair[1])


@pytest.mark.matrix
def test_an_interruption_ends_only_its_own_file_of_several(pair, halfway, receiver, jet):
    romeo, juliet = pair
    romeo.file("song.ogg", 10)
    sending, receiving, connection = halfway(pair, send=["song.ogg"])
    connection.cut()
    connection.move()
    ended(sending, 14)
    ended(receiving, 14)
    assert "song.ogg" in juliet.saved
    assert len(juliet.parts) == 1


def _rewritten(film) -> None:
    with film.open("r+b") as file:
        file.write(b"another beginning")


def _shortened(film) -> None:
    os.truncate(film, 30_000_000)


def _lengthened(film) -> None:
    with film.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (_rewritten, "it was modified"),
        pytest.param(_shortened, "its size went", marks=pytest.mark.matrix),
        pytest.param(_lengthened, "its size went", marks=pytest.mark.matrix),
        pytest.param(Path.unlink, "it was removed", marks=pytest.mark.matrix),
    ],
)
def test_a_source_that_changes_is_never_published_and_leaves_nothing_to_resume(pair, halfway, jet, change, how):
    _, juliet = pair
    sending, receiving, connection = halfway(pair)
    change(pair[0].files / "film.mkv")
    connection.move()
    ended(sending, 13)
    assert f"'film.mkv' changed while it was sent: {how}" in sending.event("error")["message"]
    ended(receiving, NOT_RESUMABLE)
    assert "'film.mkv' changed while it was sent" in receiving.event("error")["message"]
    assert not receiving.event("result")["resumable"]
    assert juliet.saved == {}
    transfer = receiving.event("offer")["id"]
    listed = jet(juliet, "--json", "resume", "--list").finished()
    assert transfer not in {event.get("transfer") for event in listed.events}


# The XMPP stream is not the data connection.


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_bytes_flow_on_while_the_server_is_out_of_reach(home, halfway, faulty, server, side):
    streams = faulty((server.host, server.port))
    romeo = home("romeo", address=streams.address if side == "sender" else None)
    juliet = home("juliet", contacts=[romeo], address=streams.address if side == "receiver" else None)
    sending, receiving, connection = halfway((romeo, juliet))
    assert streams.connections == 1
    streams.cut()
    connection.move()
    ended(sending, 0)
    ended(receiving, 0)
    assert streams.connections == 2
    assert juliet.saved == romeo.saved


@pytest.mark.matrix
def test_a_receiver_stays_until_its_confirmation_can_be_sent(home, halfway, faulty, server):
    streams = faulty((server.host, server.port))
    romeo = home("romeo")
    juliet = home("juliet", contacts=[romeo], address=streams.address)
    sending, receiving, connection = halfway((romeo, juliet))
    streams.refuse = True
    streams.cut()
    connection.move()
    receiving.event("file")
    streams.connected(times=4)
    streams.refuse = False
    ended(sending, 0)
    ended(receiving, 0)


@pytest.mark.matrix
def test_a_server_that_stays_away_ends_the_transfer_with_the_part_kept(home, halfway, another_server):
    server = another_server()
    romeo = home("romeo", on=server)
    juliet = home("juliet", on=server, contacts=[romeo])
    sending, receiving, _ = halfway((romeo, juliet), network='idle = "2s"')
    server.stop()
    ended(sending, INTERRUPTED)
    ended(receiving, INTERRUPTED)
    kept(juliet)


@pytest.mark.parametrize("command", ["send", "receive"])
def test_a_command_that_waits_ends_when_the_server_takes_it_no_more(home, jet, receiver, faulty, server, command):
    streams = faulty((server.host, server.port))
    romeo = home("romeo", address=streams.address)
    juliet = home("juliet", contacts=[romeo])
    if command == "send":
        waiting = jet(romeo, "--json", "send", "--wait", "forever", romeo.file("film.mkv", 1), juliet.jid)
        waiting.wait_for("Looking for")
    else:
        waiting = receiver(romeo, "--json", "--forever")
    server.add_account(romeo.jid.partition("@")[0], "another password")
    streams.cut()
    ended(waiting, LOGIN_REFUSED)


@pytest.mark.matrix
def test_an_in_band_transfer_ends_with_the_stream_that_carries_it(home, receiver, jet, faulty, server):
    streams = faulty((server.host, server.port))
    romeo = home("romeo", address=streams.address, network='idle = "1s"')
    juliet = home("juliet", contacts=[romeo], network='idle = "1s"')
    romeo.file("film.mkv", 3_000_000)
    receiving = receiver(juliet, "--json")
    streams.stall_after = 1_500_000
    sending = jet(romeo, "--json", "send", "--path", "ibb", "film.mkv", juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > 500_000)
    streams.refuse = True
    streams.cut()
    ended(sending, INTERRUPTED)
    ended(receiving, INTERRUPTED)
    [part] = juliet.parts
    assert 500_000 < part.stat().st_size < 1_500_000
