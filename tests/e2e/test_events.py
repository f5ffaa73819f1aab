"""What a program reads with --json: the events of a whole transfer on both sides, in their order."""

import socket

import pytest

COMMON = {"v", "t", "type", "id", "dir"}


def kinds(process) -> list[str]:
    """The types of the events, repetitions left out."""
    told = [event["type"] for event in process.events if event["type"] != "warning"]
    return [kind for number, kind in enumerate(told) if number == 0 or told[number - 1] != kind]


def test_both_sides_tell_a_transfer_from_start_to_result(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "--json", romeo.file("film.mkv", 700_000), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert kinds(sending) == ["start", "connected", "peer", "offer", "accepted", "path", "progress", "file", "result"]
    assert kinds(receiving) == ["start", "connected", "offer", "accepted", "path", "progress", "file", "result"]
    for process, direction in ((sending, "send"), (receiving, "receive")):
        events = process.events
        assert all(event.keys() >= COMMON and event["v"] == 1 for event in events)
        assert {event["dir"] for event in events} == {direction}
        assert len({event["id"] for event in events} - {None}) == 1
        progress = [event["bytes"] for event in events if event["type"] == "progress"]
        assert (progress[0], progress[-1]) == (0, 700_000)
        assert progress == sorted(progress)
        file, result = events[-2:]
        assert (file["name"], file["size"], file["verified"]) == ("film.mkv", 700_000, "chunks")
        assert (result["exit"], result["ok"], result["files"], result["bytes"]) == (0, True, 1, 700_000)
        assert [event["type"] for event in events].count("result") == 1
    assert receiving.event("file")["path"] == str(juliet.files / "film.mkv")
    assert sending.event("path")["transport"] == receiving.event("path")["transport"] == "s5b-direct"


def test_a_failure_is_one_error_and_then_the_result(pair, jet):
    romeo, juliet = pair
    sending = jet(romeo, "send", "--json", romeo.file("a.txt", 10), juliet.jid).finished()
    assert kinds(sending) == ["start", "connected", "error", "result"]
    error, result = sending.events[-2:]
    assert (error["code"], error["exit"], error["retryable"]) == ("unavailable", 6, True)
    assert (result["exit"], result["ok"]) == (6, False)


@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_nothing_moves_still_ends_with_the_result(pair, receiver, number):
    waiting = receiver(pair[1], "--json")
    waiting.signal(number)
    assert waiting.finished().code == 128 + number, waiting
    assert kinds(waiting) == ["start", "connected", "result"]
    assert waiting.events[-1]["exit"] == 128 + number


@pytest.fixture
def silent_server():
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.matrix
@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_while_the_server_says_nothing_still_ends_with_the_result(home, jet, silent_server, number):
    romeo = home("romeo", address=silent_server)
    sending = jet(romeo, "send", "--json", romeo.file("a.txt", 10), "juliet@jet.test")
    sending.wait_for("Connecting to")
    sending.signal(number)
    assert sending.finished().code == 128 + number, sending
    assert kinds(sending) == ["start", "result"]
    assert sending.events[-1]["exit"] == 128 + number


@pytest.mark.matrix
@pytest.mark.parametrize("number", [2, 15])
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_signal_while_a_person_thinks_still_ends_with_the_result(pair, receiver, jet, side, number):
    romeo, juliet = pair
    receiving = receiver(juliet, "--json", terminal=True)
    sending = jet(romeo, "send", "--json", romeo.file("a.txt", 10), juliet.jid)
    receiving.event("prompt")
    stopped, other = (sending, receiving) if side == "sender" else (receiving, sending)
    stopped.signal(number)
    assert stopped.finished().code == 128 + number, stopped
    assert stopped.events[-1]["exit"] == 128 + number
    if other is sending:
        assert sending.finished().code == 6, sending
    else:
        assert receiving.event("declined")["by"] == "peer"


@pytest.mark.matrix
@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_between_two_attempts_still_ends_with_the_result(pair, over, receiver, jet, number):
    romeo, juliet = pair
    connection = over(romeo, juliet, stall_after=2_000_000)
    receiving = receiver(juliet, "--json", "--retry", "5")
    sending = jet(romeo, "send", "--json", "--retry", "5", romeo.file("film.mkv", 40_000_000), juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > 1_000_000)
    connection.refuse = True
    connection.cut()
    sending.event("waiting")
    for process in (sending, receiving):
        process.signal(number)
        assert process.finished().code == 128 + number, process
        assert (process.events[-1]["exit"], process.events[-1]["resumable"]) == (128 + number, True)


def test_a_declined_offer_is_told_on_both_sides_and_counts_for_nothing(home, pair, receiver, jet):
    _, juliet = pair
    tybalt = home("tybalt")
    receiving = receiver(juliet, "--json")
    refused = jet(tybalt, "send", "--json", tybalt.file("a.txt", 10), receiving.ready()).finished()
    assert refused.events[-1]["exit"] == 9
    assert receiving.event("declined")["by"] == "policy"
    receiving.signal(2)
    assert receiving.finished().events[-1]["files"] == 0
