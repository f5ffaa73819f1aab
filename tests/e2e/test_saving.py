"""Where a received file ends up: its name, mode and time, and what stands in its way."""

import os
import shutil

import pytest

PAST = 1_600_000_000


def test_a_file_keeps_its_time_and_gets_the_mode_of_the_umask(pair, receiver, jet):
    romeo, juliet = pair
    film = romeo.file("film.sh", 10)
    film.chmod(0o755)
    os.utime(film, (PAST, PAST))
    receiving = receiver(juliet, umask=0o027)
    assert jet(romeo, "send", film, juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    saved = (juliet.files / "film.sh").stat()
    assert saved.st_mode & 0o7777 == 0o640
    assert saved.st_mtime == PAST


def test_a_name_that_is_taken_gets_a_number_and_nothing_is_replaced(pair, receiver, jet):
    romeo, juliet = pair
    juliet.file("film.mkv", b"mine")
    receiving = receiver(juliet)
    assert jet(romeo, "send", romeo.file("film.mkv", b"yours"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"film.mkv": b"mine", "film (2).mkv": b"yours"}
    assert receiving.stdout == f"{juliet.files / 'film (2).mkv'}\n"


def test_a_name_that_is_taken_is_exit_13_where_the_user_says_fail(pair, receiver, jet):
    romeo, juliet = pair
    juliet.file("film.mkv", b"mine")
    receiving = receiver(juliet, "--on-exist", "fail")
    sending = jet(romeo, "send", romeo.file("film.mkv", b"yours"), juliet.jid).finished()
    assert receiving.finished().code == 13, receiving
    assert receiving.error == "'film.mkv' exists already"
    assert sending.code == 9, sending
    assert sending.error.endswith(" cannot store 'film.mkv': a file of that name is there already")
    assert str(juliet.files) not in sending.stderr
    assert juliet.saved == {"film.mkv": b"mine"}


def test_output_names_the_file_whatever_its_sender_calls_it(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "-o", "mine.mkv")
    sending = jet(romeo, "send", "--name", "theirs.mkv", romeo.file("film.mkv", b"x"), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), receiving
    assert juliet.saved == {"mine.mkv": b"x"}


@pytest.mark.matrix
def test_a_file_may_be_renamed_on_its_way_out(pair, receiver, jet):
    romeo, juliet = pair
    there = juliet.files / "there"
    there.mkdir()
    receiving = receiver(juliet, "-d", "there", "-0")
    sending = jet(romeo, "send", "--name", "new.mkv", romeo.file("film.mkv", b"x"), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), receiving
    assert receiving.stdout == f"{there / 'new.mkv'}\0"


@pytest.mark.matrix
def test_a_limit_on_the_size_of_files_at_the_receiver_is_exit_13_there(pair, receiver, jet):
    romeo, juliet = pair
    # 4 MB: the state of an account must fit, too.
    limited = ("sh", "-c", 'ulimit -f 8192; exec "$@"', "sh")
    receiving = receiver(juliet, prefix=limited)
    sending = jet(romeo, "send", romeo.file("film.mkv", 12_000_000), juliet.jid).finished()
    assert receiving.finished().code == 13, receiving
    assert receiving.error.startswith("cannot write 'film.mkv': file too large")
    assert receiving.error.endswith(" after 4194304 bytes")
    assert sending.code == 10, sending
    assert sending.error.endswith(": it is too large for the disk there")
    assert "film.mkv" not in juliet.saved
    assert sum(part.stat().st_size for part in juliet.parts) == 4_194_304


def test_an_offer_larger_than_the_free_space_is_refused_before_a_byte_moves(pair, receiver, jet):
    romeo, juliet = pair
    film = romeo.files / "film.mkv"
    with film.open("wb") as sparse:
        sparse.truncate(15 * 10**12)
    receiving = receiver(juliet)
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert receiving.finished().code == 13, receiving
    assert receiving.error.startswith("not enough space in ")
    assert sending.code == 9, sending
    assert sending.error.endswith(" cannot store 'film.mkv': no space left there")
    assert juliet.saved == {}


@pytest.mark.matrix
def test_a_file_larger_than_was_allowed_is_declined_and_the_next_one_taken(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--max-size", "1k")
    refused = jet(romeo, "send", romeo.file("large.bin", 2000), juliet.jid).finished()
    assert refused.code == 9, refused
    assert jet(romeo, "send", romeo.file("small.bin", 200), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["small.bin"]


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["späße ☂.txt", "-rf", "a b.txt"])
def test_odd_names_are_kept(pair, receiver, jet, name):
    romeo, juliet = pair
    receiving = receiver(juliet)
    sending = jet(romeo, "send", "--to", juliet.jid, "--", romeo.file(name, b"x")).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == {name: b"x"}


@pytest.mark.parametrize("name", [".bashrc", "back\\slash"])
def test_a_name_that_is_not_taken_is_declined_and_the_next_file_waited_for(pair, receiver, jet, name):
    romeo, juliet = pair
    receiving = receiver(juliet)
    sending = jet(romeo, "send", romeo.file(name, b"x"), juliet.jid).finished()
    assert sending.code == 9, sending
    assert sending.error.endswith(f"declined '{name}': refused unsafe file name '{name}'")
    receiving.wait_for("refused unsafe file name")
    assert jet(romeo, "send", romeo.file("a.txt", b"x"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"a.txt": b"x"}


@pytest.mark.matrix
def test_a_hidden_name_is_taken_where_the_user_allows_it(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--allow-hidden")
    sending = jet(romeo, "send", romeo.file(".bashrc", b"x"), juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), sending
    assert juliet.saved == {".bashrc": b"x"}
    assert receiving.stdout == f"{juliet.files / '.bashrc'}\n"


@pytest.mark.matrix
@pytest.mark.parametrize("names", [("a.bin", ".hidden"), (".hidden", "a.bin"), (".one", ".two", "a.bin")])
def test_a_hidden_name_among_several_is_declined_alone(pair, receiver, jet, names):
    romeo, juliet = pair
    receiving = receiver(juliet)
    for name in names:
        romeo.file(name, 300_000)
    sending = jet(romeo, "send", *names, juliet.jid).finished()
    assert sending.code == 14, sending
    assert receiving.finished(15).code == 0, receiving
    assert list(juliet.saved) == ["a.bin"]


@pytest.mark.matrix
def test_a_command_of_which_nothing_is_taken_does_not_count(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet)
    for name in (".one", ".two"):
        romeo.file(name, 10)
    assert jet(romeo, "send", ".one", ".two", juliet.jid).finished().code == 9
    assert jet(romeo, "send", romeo.file("a.txt", b"x"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["a.txt"]


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare makes the disk that is full")
@pytest.mark.parametrize("small", [("hi.txt",), ("hi.txt", "a.bin")])
def test_what_does_not_fit_leaves_the_other_files_of_its_command_alone(new_pair, small_disk, receiver, jet, small):
    romeo, juliet = new_pair
    inside, files = small_disk
    romeo.file("m.bin", 50_000_000)
    for name in small:
        romeo.file(name, 1000)
    receiving = receiver(juliet, prefix=inside)
    sending = jet(romeo, "send", "m.bin", *small, juliet.jid).finished()
    assert (sending.code, receiving.finished(20).code) == (14, 14), (sending, receiving)
    assert "not enough space" in receiving.error
    assert sorted(path.name for path in files.iterdir()) == sorted(small)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare makes the disk that is full")
@pytest.mark.matrix
def test_of_small_files_on_a_full_disk_those_are_saved_that_fit(new_pair, small_disk, receiver, jet):
    romeo, juliet = new_pair
    inside, files = small_disk
    receiving = receiver(juliet, prefix=inside)
    (files / "ballast").write_bytes(bytes(39_300_000))
    for name, size in (("1.bin", 1000), ("2.bin", 250_000), ("3.bin", 250_000), ("4.bin", 1000)):
        romeo.file(name, size)
    sending = jet(romeo, "send", "1.bin", "2.bin", "3.bin", "4.bin", juliet.jid).finished()
    assert (sending.code, receiving.finished(20).code) == (14, 14), (sending, receiving)
    assert {path.name for path in files.iterdir()} == {"ballast", "1.bin", "2.bin", "4.bin"}
