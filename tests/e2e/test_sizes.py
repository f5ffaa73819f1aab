"""Files of every size that has an edge, several in one command, and one that is large."""

import hashlib
import os

import pytest

CHUNK = 262_144
SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1)


def test_files_around_the_size_of_a_chunk_arrive_whole_in_one_command(pair, receiver, jet):
    romeo, juliet = pair
    files = [romeo.file(f"{size}.bin", size) for size in SIZES]
    receiving = receiver(juliet)
    sending = jet(romeo, "send", *files, juliet.jid).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == romeo.saved
    assert receiving.stdout.splitlines() == [str(juliet.files / file.name) for file in files]
    assert sending.stdout == ""


def test_a_lone_file_of_any_size_arrives_whole(pair, receiver, jet):
    romeo, juliet = pair
    receiver(juliet, "--forever")
    for size in (0, 1, CHUNK, CHUNK + 1):
        lone = romeo.file(f"{size}.bin", size)
        assert jet(romeo, "send", lone, juliet.jid).finished().code == 0
    assert juliet.saved == romeo.saved


def test_files_around_the_size_of_a_block_arrive_whole_in_band(pair, receiver, jet):
    romeo, juliet = pair
    files = [romeo.file(f"{size}.bin", size) for size in (0, 1, 65_519, 65_535, CHUNK + 1)]
    receiving = receiver(juliet)
    sending = jet(romeo, "send", "--path", "ibb", *files, juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == romeo.saved


@pytest.mark.parametrize("size", [0, CHUNK + 1])
def test_a_checksum_that_was_asked_for_is_announced_and_compared(pair, receiver, jet, size):
    romeo, juliet = pair
    film = romeo.file("film.mkv", size)
    digest = hashlib.sha256(film.read_bytes()).hexdigest()
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "--checksum", "--json", film, juliet.jid).finished()
    assert receiving.finished().code == 0, receiving
    file = receiving.event("file")
    assert (file["verified"], file["sha256"]) == ("chunks+checksum", digest)
    assert sending.event("file")["sha256"] == digest


def test_two_hundred_megabytes_arrive_whole(pair, receiver, jet):
    romeo, juliet = pair
    film = romeo.files / "film.mkv"
    piece = os.urandom(1_000_000)
    with film.open("wb") as writing:
        for number in range(200):
            writing.write(number.to_bytes(4) + piece)
    receiving = receiver(juliet)
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    with film.open("rb") as sent, (juliet.files / "film.mkv").open("rb") as saved:
        assert hashlib.file_digest(saved, "sha256").digest() == hashlib.file_digest(sent, "sha256").digest()
    for path in (film, juliet.files / "film.mkv"):
        path.unlink()  # pytest keeps the directories of three runs
