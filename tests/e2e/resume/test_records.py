"""What is on record of a transfer, and what is found of its part, when it is to go on."""

import os
import shutil
import signal
import sqlite3

import pytest

NOT_RESUMABLE = 11


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


@pytest.mark.parametrize("content", [1_000_000, pytest.param(b"", marks=pytest.mark.matrix)], ids=["film", "empty"])
def test_a_sender_that_never_heard_of_the_success_learns_it_and_sends_nothing(new_pair, receiver, jet, over, content):
    romeo, juliet = new_pair
    connection = over(romeo, juliet)
    film = romeo.file("film.mkv", content)
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
