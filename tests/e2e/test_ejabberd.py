"""The same on the other server that most people have their account on."""

import pytest
from ejabberd import Ejabberd, missing
from killings import killed_half_way

from jetcli.trial.server import throwaway_directory

pytestmark = [pytest.mark.matrix, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def ejabberd():
    with throwaway_directory("jet-test-") as directory, Ejabberd(directory / "ejabberd") as server:
        yield server


@pytest.fixture
def couple(home, ejabberd):
    """Romeo and Juliet, contacts on an ejabberd."""
    romeo = home("romeo", on=ejabberd)
    return romeo, home("juliet", on=ejabberd, contacts=[romeo])


@pytest.mark.parametrize(("path", "way"), [("direct", "direct"), ("relay", "relay"), ("ibb", "in-band (slow)")])
def test_a_file_arrives_by_every_way(couple, jet, receiver, path, way):
    romeo, juliet = couple
    film = romeo.file("film.mkv", 3_000_000)
    receiving = receiver(juliet)
    sending = jet(romeo, "send", "--path", path, film, juliet.jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), (sending, receiving)
    assert f"path {way}" in sending.stderr
    assert juliet.saved == {"film.mkv": film.read_bytes()}


def test_doctor_finds_nothing_wrong(couple, jet):
    done = jet(couple[0], "doctor").finished()
    assert done.code == 0, done
    assert "FAIL" not in done.stdout


def test_an_interrupted_file_goes_on(couple, over, jet, receiver):
    romeo, juliet = couple
    killed_half_way(romeo, juliet, over, jet, receiver)
    receiver(juliet, "--forever")
    resuming = jet(romeo, "resume").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == romeo.saved


def test_strangers_reach_each_other_by_the_full_address_as_the_hint_says(home, ejabberd, jet, receiver):
    """A proposal to a bare address goes to clients that read chats; ejabberd keeps it where there are only jets."""
    romeo, juliet = home("romeo", on=ejabberd), home("juliet", on=ejabberd)
    file = romeo.file("first.bin", 1000)
    receiving = receiver(juliet, "--from", romeo.jid, ready=False)
    full_jid = receiving.ready()
    refused = jet(romeo, "send", file, juliet.jid).finished()
    assert refused.code == 6, refused
    assert f"{juliet.jid}/jet..." in refused.hint
    sending = jet(romeo, "send", file, full_jid).finished()
    assert (sending.code, receiving.finished().code) == (0, 0), (sending, receiving)
