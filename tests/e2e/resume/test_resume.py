"""A transfer that broke goes on from where it stopped, whoever is started again and whatever was killed."""

import hashlib
import json
import shlex
import signal
import sys
import tarfile

import pytest

PARTIAL = 14

EITHER = [(), ("sender",), ("receiver",), ("sender", "receiver")]


@pytest.mark.parametrize("killed", EITHER, ids=lambda killed: "+".join(killed) or "nobody")
def test_the_receiver_asks_for_the_rest(new_pair, broken, jet, killed, half, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair, *killed)
    serving = jet(romeo, "receive", "--accept-all", "--forever")
    serving.ready()
    resuming = jet(juliet, "--json", "resume").finished()
    assert resuming.code == 0, (resuming, serving)
    whole(new_pair, connection)
    assert resuming.events[-1]["files"] == 1
    assert resuming.event("file")["size"] == half.size
    assert json.loads(jet(juliet, "--json", "resume", "--list").finished().stdout.splitlines()[0])["type"] != "transfer"


@pytest.mark.parametrize("killed", EITHER, ids=lambda killed: "+".join(killed) or "nobody")
def test_the_sender_offers_the_rest(new_pair, broken, receiver, jet, killed, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair, *killed)
    receiving = receiver(juliet)
    resuming = jet(romeo, "resume", "film.mkv").finished()
    assert resuming.code == 0, (resuming, receiving)
    assert receiving.finished().code == 0, receiving
    whole(new_pair, connection)


@pytest.mark.matrix
def test_a_receiver_that_still_waits_is_found_by_a_sender_that_was_killed(new_pair, over, receiver, jet, half):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, network='idle = "2s"', stall_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json", "--retry", "9")
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    sending.signal(signal.SIGKILL)
    receiving.event("waiting")
    connection.move()
    resuming = jet(romeo, "resume").finished()
    assert (resuming.code, receiving.finished().code) == (0, 0), (resuming, receiving)
    assert juliet.saved == {"film.mkv": film.read_bytes()}
    assert connection.carried < half.size + half.twice


# Without a word of the user.


def test_a_cut_connection_is_made_anew_and_the_transfer_goes_on(new_pair, over, receiver, jet, half):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, cut_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json", "--retry", "9")
    sending = jet(romeo, "--json", "send", film, juliet.jid, "--retry", "9")
    receiving.event("progress", lambda event: event["bytes"] > 0)
    assert sending.event("waiting")["for"] == "network"
    assert (sending.finished().code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert juliet.saved == {"film.mkv": film.read_bytes()}
    assert connection.carried < half.size + half.twice
    assert [event["type"] for event in sending.events].count("file") == 1
    assert not [event for event in sending.events if event["type"] == "error"]


def test_a_receiver_that_was_killed_and_started_again_gets_the_rest_by_itself(new_pair, over, receiver, jet, half):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, stall_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "--json", "send", film, juliet.jid, "--retry", "20")
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    receiving.signal(signal.SIGKILL)
    receiving.finished()
    connection.cut()
    connection.move()
    receiving = receiver(juliet)
    assert (sending.finished(60).code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert juliet.saved == {"film.mkv": film.read_bytes()}
    assert connection.carried < half.size + half.twice


@pytest.mark.matrix
def test_the_command_is_run_for_a_file_that_an_earlier_receiver_had_begun(new_pair, broken, receiver, jet, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair, "sender", "receiver")
    script = "import os; print(*(os.environ['JET_' + name] for name in ('PATH', 'FROM', 'SIZE', 'ID')))"
    receiving = receiver(juliet, "--json", "--exec", shlex.join((sys.executable, "-c", script)))
    assert jet(romeo, "resume").finished().code == 0
    assert receiving.finished().code == 0, receiving
    done = receiving.event("file")
    assert f"{juliet.files / 'film.mkv'} {romeo.jid}/jet." in receiving.stderr, receiving
    assert f" {done['size']} {done['id']}\n" in receiving.stderr, receiving
    whole(new_pair, connection)


def test_the_same_send_again_continues(new_pair, broken, receiver, jet, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair, "sender")
    receiving = receiver(juliet)
    sending = jet(romeo, "send", "film.mkv", juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), (sending, receiving)
    whole(new_pair, connection)


def test_the_same_send_again_continues_with_a_receiver_that_resumes(new_pair, broken, jet, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    resuming = jet(juliet, "resume")
    resuming.wait_for("not online; waiting for a jet that knows the transfer")
    sending = jet(romeo, "send", "film.mkv", juliet.jid).finished()
    assert (sending.code, resuming.finished().code) == (0, 0), (sending, resuming)
    whole(new_pair, connection)


@pytest.mark.matrix
def test_what_else_is_sent_to_a_receiver_that_only_resumes_fails_alone(new_pair, broken, jet, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair, "sender", "receiver")
    romeo.file("new.txt", 10)
    resuming = jet(juliet, "resume")
    resuming.wait_for("not online; waiting for a jet that knows the transfer")
    sending = jet(romeo, "send", "new.txt", "film.mkv", juliet.jid).finished()
    assert (sending.code, resuming.finished().code) == (PARTIAL, 0), (sending, resuming)
    assert "cannot receive encrypted transfers" in sending.stderr
    whole(new_pair, connection)


@pytest.mark.matrix
def test_a_promised_checksum_is_compared_although_the_file_came_in_two_sessions(new_pair, over, receiver, jet, half):
    romeo, juliet = new_pair
    over(romeo, juliet, cut_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json", "--retry", "9")
    sending = jet(romeo, "--json", "send", "--checksum", film, juliet.jid, "--retry", "9")
    assert (sending.finished().code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert receiving.event("waiting")
    digest = hashlib.sha256(film.read_bytes()).hexdigest()
    assert (receiving.event("file")["verified"], receiving.event("file")["sha256"]) == ("chunks+checksum", digest)
    assert sending.event("file")["sha256"] == digest
    assert juliet.saved == {"film.mkv": film.read_bytes()}


@pytest.mark.matrix
def test_an_archive_that_came_in_two_sessions_is_unpacked_before_the_command_gets_it(
    new_pair, over, receiver, jet, half
):
    romeo, juliet = new_pair
    over(romeo, juliet, cut_after=half.stall)
    romeo.file("balcony.raw", half.size)
    with tarfile.open(romeo.files / "photos.tar", "w") as tar:
        tar.add(romeo.files / "balcony.raw", "photos/balcony.raw")
    receiving = receiver(juliet, "--json", "--extract", "--exec", 'sh -c "ls $JET_PATH >&2"', "--retry", "9")
    sending = jet(romeo, "send", "photos.tar", juliet.jid, "--retry", "9")
    assert (sending.finished().code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert receiving.event("waiting")
    assert receiving.event("file")["path"] == str(juliet.files / "photos")
    assert [path.name for path in juliet.files.iterdir()] == ["photos"]
    unpacked = next((juliet.files / "photos").rglob("balcony.raw"))
    assert unpacked.read_bytes() == romeo.saved["balcony.raw"]
    assert "balcony.raw" in receiving.stderr
