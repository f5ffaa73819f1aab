"""A transfer that broke goes on from where it stopped, whoever is started again and whatever was killed."""

import hashlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import sys
import tarfile

import pytest

DECLINED = 9
NOT_RESUMABLE = 11
LOCAL_FILE = 13
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


# The source is not what it was.


@pytest.mark.matrix
def test_a_copied_source_has_to_be_proven_and_goes_on(new_pair, broken, jet, whole):
    """A copy with the same time has the same bytes, but it is not the same file: the receiver proves what it holds."""
    romeo, juliet = new_pair
    connection = broken(new_pair)
    film = romeo.files / "film.mkv"
    shutil.copy2(film, romeo.files / "copy")
    (romeo.files / "copy").replace(film)
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 0, resuming
    whole(new_pair, connection)


@pytest.mark.matrix
def test_a_source_with_other_bytes_under_the_same_time_is_found_out(new_pair, broken, receiver, jet):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    film = romeo.files / "film.mkv"
    times = film.stat().st_atime_ns, film.stat().st_mtime_ns
    with film.open("r+b") as file:
        file.write(b"another beginning")
    os.utime(film, ns=times)
    receiving = receiver(juliet)
    resuming = jet(romeo, "resume").finished()
    assert resuming.code == NOT_RESUMABLE, resuming
    assert "has changed since its transfer began" in resuming.error
    assert connection.carried < 10_000
    assert receiving.finished().code == NOT_RESUMABLE, receiving
    assert juliet.saved == {}


@pytest.mark.matrix
def test_a_source_that_was_changed_has_to_start_again(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    (romeo.files / "film.mkv").write_bytes(b"something else")
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == NOT_RESUMABLE, resuming
    assert "it has to start again" in resuming.error


@pytest.mark.matrix
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_a_source_that_is_away_for_a_while_gives_nothing_up(new_pair, broken, jet, side, whole):
    """It may be on a drive that is not mounted at the moment."""
    romeo, juliet = new_pair
    connection = broken(new_pair)
    film, away = romeo.files / "film.mkv", romeo.path / "film.mkv"
    ours, other = (romeo, juliet) if side == "sender" else (juliet, romeo)
    serving = jet(other, "receive", "--accept-all", "--forever")
    serving.ready()
    film.rename(away)
    resuming = jet(ours, "resume").finished()
    if side == "sender":
        assert resuming.code == LOCAL_FILE, resuming
        assert "no such file" in resuming.error
    else:
        assert resuming.code == DECLINED, resuming
        assert resuming.error.endswith(" cannot read 'film.mkv': the file cannot be read there at the moment")
    away.rename(film)
    resuming = jet(ours, "resume").finished()
    assert resuming.code == 0, (resuming, serving)
    whole(new_pair, connection)


# Records.


@pytest.mark.matrix
def test_what_is_unfinished_is_listed_and_can_be_forgotten(new_pair, broken, jet, half):
    _, juliet = new_pair
    broken(new_pair)
    [row] = [event for event in jet(juliet, "--json", "resume", "--list").finished().events if "part" in event]
    assert (row["direction"], row["name"], row["size"], row["state"]) == (
        "receive",
        "film.mkv",
        half.size,
        "interrupted",
    )
    assert row["part_size"] == row["held"] > half.arrived
    [told] = [event for event in jet(juliet, "--json", "status").finished().events if event["type"] == "transfer"]
    assert (told["name"], told["held"]) == ("film.mkv", row["held"])
    assert 0 <= told["age"] < 60
    status = jet(juliet, "status").finished()
    [line] = [line for line in (status.stdout + status.stderr).splitlines() if "film" in line]
    assert "of 32 MB" in line
    forgetting = jet(juliet, "resume", "--forget", row["transfer"]).finished()
    assert forgetting.code == 0, forgetting
    assert juliet.saved == {}
    assert "Nothing is unfinished" in jet(juliet, "resume").finished().stderr


def test_a_transfer_that_nobody_knows_is_a_usage_error(pair, jet):
    resuming = jet(pair[0], "resume", "nosuch").finished()
    assert (resuming.code, resuming.error) == (2, "no transfer 'nosuch'")


def test_a_file_of_which_nothing_is_missing_is_published_without_the_network(new_pair, over, receiver, jet):
    """The name is taken in the last moment: the verified part stays, and gets another name without the sender."""
    romeo, juliet = new_pair
    connection = over(romeo, juliet, stall_after=1_000_000)
    film = romeo.file("film.mkv", 4_000_000)
    receiving = receiver(juliet, "--on-exist", "fail")
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.wait_for("path direct")
    juliet.file("film.mkv", b"in the way")
    connection.move()
    assert receiving.finished().code == 13, receiving
    assert sending.finished().code == 10, sending
    resuming = jet(juliet, "resume", "-o", "other.mkv").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == {"film.mkv": b"in the way", "other.mkv": film.read_bytes()}


def test_a_sender_that_never_heard_of_the_success_learns_it_and_sends_nothing(new_pair, receiver, jet, over):
    romeo, juliet = new_pair
    connection = over(romeo, juliet)
    film = romeo.file("film.mkv", 1_000_000)
    receiving = receiver(juliet)
    assert jet(romeo, "send", film, juliet.jid).finished().code == 0
    assert receiving.finished().code == 0
    [database] = romeo.path.glob("state/**/state.db")
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET state = 'interrupted'")
    sent = connection.carried
    receiver(juliet)
    resuming = jet(romeo, "resume").finished()
    assert resuming.code == 0, resuming
    assert connection.carried < sent + 1000, "the greeting of a connection at most"
    assert juliet.saved == {"film.mkv": film.read_bytes()}


@pytest.mark.matrix
@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_an_empty_file_that_was_accepted_and_did_not_come_goes_on(new_pair, over, receiver, jet, side):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, stall_after=1)
    film = romeo.file("empty.txt", b"")
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "--json", "send", film, juliet.jid)
    for each in (receiving, sending):
        each.event("accepted")
    connection.wait_until_stalled()
    for each in (receiving, sending):
        each.signal(signal.SIGKILL)
        each.finished()
    connection.move()
    assert juliet.parts
    ours, other = (romeo, juliet) if side == "sender" else (juliet, romeo)
    serving = receiver(other, "--forever")
    resuming = jet(ours, "resume").finished()
    assert resuming.code == 0, (resuming, serving)
    assert juliet.saved == {"empty.txt": b""}


@pytest.mark.matrix
def test_a_sender_that_never_heard_of_the_success_of_an_empty_file_learns_it(new_pair, receiver, jet):
    romeo, juliet = new_pair
    film = romeo.file("empty.txt", b"")
    receiving = receiver(juliet)
    assert jet(romeo, "send", film, juliet.jid).finished().code == 0
    assert receiving.finished().code == 0
    [database] = romeo.path.glob("state/**/state.db")
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET state = 'interrupted'")
    receiver(juliet)
    resuming = jet(romeo, "resume").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == {"empty.txt": b""}


@pytest.mark.matrix
def test_a_part_that_was_replaced_by_a_link_is_not_written_to(new_pair, broken, jet):
    _, juliet = new_pair
    broken(new_pair)
    precious = juliet.path / "precious"
    precious.write_bytes(b"mine")
    [part] = juliet.parts
    part.unlink()
    part.symlink_to(precious)
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 13, resuming
    assert precious.read_bytes() == b"mine"


@pytest.mark.matrix
def test_a_part_that_is_gone_cannot_be_resumed(new_pair, broken, jet):
    _, juliet = new_pair
    broken(new_pair)
    [part] = juliet.parts
    part.unlink()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == NOT_RESUMABLE, resuming
    assert "is gone" in resuming.error


@pytest.mark.matrix
def test_a_part_that_is_longer_than_its_record_is_cut_to_what_is_vouched_for(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    [part] = juliet.parts
    with part.open("ab") as file:
        file.write(b"not ours" * 1000)
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}


@pytest.mark.matrix
def test_a_part_that_lost_its_end_goes_on_from_what_there_is(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    [part] = juliet.parts
    os.truncate(part, 12_345_678)
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "--json", "resume").finished()
    assert resuming.code == 0, resuming
    assert resuming.event("progress")["offset"] == 12_345_678
    assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}


@pytest.mark.matrix
def test_a_copied_part_has_to_be_adopted(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    [part] = juliet.parts
    shutil.copy2(part, juliet.files / "copy")
    (juliet.files / "copy").replace(part)
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    refused = jet(juliet, "resume").finished()
    assert refused.code == 13, refused
    assert "is not the file that jet left there" in refused.error
    adopted = jet(juliet, "resume", "--adopt").finished()
    assert adopted.code == 0, adopted
    assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}


@pytest.mark.matrix
def test_after_another_boot_only_what_was_synced_counts(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    [database] = juliet.path.glob("state/**/state.db")
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET boot_id = 'another', synced = 7340032")
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "--json", "resume").finished()
    assert resuming.code == 0, resuming
    assert resuming.event("progress")["offset"] == 7_340_032
    assert juliet.saved == {"film.mkv": romeo.saved["film.mkv"]}


@pytest.mark.matrix
def test_a_peer_that_has_lost_its_keys_is_not_resumed_with(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    [database] = juliet.path.glob("state/**/state.db")
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET device_keys = zeroblob(32)")
    jet(romeo, "receive", "--accept-all", "--forever").ready()
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 8, resuming
    assert "has none of the keys any more that 'film.mkv' began with" in resuming.error
