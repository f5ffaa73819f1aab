"""A source that is not what it was, or not there, when its transfer is to go on."""

import os
import shutil

import pytest

DECLINED = 9
NOT_RESUMABLE = 11
LOCAL_FILE = 13


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
