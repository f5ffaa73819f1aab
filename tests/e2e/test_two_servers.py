"""Romeo and Juliet have accounts on different servers, which talk to each other."""

import pytest


@pytest.mark.parametrize("way", ["direct", "relay", "ibb"])
def test_a_file_goes_from_one_server_to_the_other(two_servers, home, receiver, jet, way):
    montague, capulet = two_servers
    romeo = home("romeo", on=montague)
    juliet = home("juliet", on=capulet, contacts=[romeo])
    film = romeo.file("film.mkv", 300_000)
    receiving = receiver(juliet, "--path", way)
    sending = jet(romeo, "send", "--path", way, film, juliet.jid).finished()
    assert sending.code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"film.mkv": film.read_bytes()}
