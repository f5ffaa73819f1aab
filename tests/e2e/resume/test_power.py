"""A power cut at any moment: what is recorded stands on the disk (row R4), and what could not be stored is told."""

import shutil

import pytest
from crashes import moments, recorded

pytestmark = [
    pytest.mark.matrix,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace writes down, and injects, what these tests need"),
]

SIZE = 12_000_000


def test_r4_at_no_moment_does_the_record_claim_what_the_disk_does_not_hold(new_pair, receiver, jet, tmp_path):
    romeo, juliet = new_pair
    film = romeo.file("film.mkv", SIZE)
    assert jet(juliet, "doctor").finished().code == 0, "its first login makes the database"
    [database] = juliet.path.glob("state/**/state.db")
    shutil.copytree(database.parent, tmp_path / "before")
    receiving = receiver(juliet, "--limit-rate", "4M", prefix=recorded(tmp_path / "calls"))
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert (receiving.finished().code, sending.code) == (0, 0), (receiving, sending)
    left = list(moments(tmp_path / "calls", tmp_path / "before", tmp_path))
    assert all(moment.claimed <= moment.safe for moment in left), left
    assert len({moment.claimed for moment in left}) > 2, "too few syncs to tell anything"
    [published] = [moment for moment in left if moment.call in {"link", "linkat"}]
    assert published.safe == SIZE


def test_r4_a_disk_that_does_not_take_the_last_bytes_keeps_the_file_from_its_name(new_pair, receiver, jet):
    romeo, juliet = new_pair
    assert jet(juliet, "doctor").finished().code == 0, "its first login makes the database"
    film = romeo.file("film.mkv", 3_000_000)
    refusing = "strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"
    receiving = receiver(juliet, prefix=refusing)
    sending = jet(romeo, "send", film, juliet.jid).finished()
    assert (receiving.finished().code, sending.code) == (13, 10), (receiving, sending)
    assert "input/output error" in receiving.error
    assert set(juliet.saved) == {part.name for part in juliet.parts}
    receiver(romeo, "--forever")
    assert jet(juliet, "resume").finished().code == 0
    assert juliet.saved == {"film.mkv": film.read_bytes()}
