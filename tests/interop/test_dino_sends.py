"""Dino to jet: the files of both ends are compared byte by byte."""

import pytest

pytestmark = pytest.mark.usefixtures("dino")

SIZES = {200_000: "200 kB", 4_900_000: "4.9 MB"}


def test_dino_first_learns_of_jet_by_a_chat_line(peers, user, cell, quick):
    cell("Dino", "jet", "first contact: refused with a hint; then after one chat line")
    bob = user("bob")
    file = bob.file("first.bin", 200_000)
    receiver = bob.receives(bob.files / "refused")
    peers.dino_sends(file, bob.jid)
    refused = receiver.ended()
    assert refused.code == 8
    assert "not encrypted for this device" in refused.stderr
    assert "jet hello" in refused.stderr
    assert not list((bob.files / "refused").iterdir())

    receiver = bob.receives(bob.files / "taken")
    peers.script("dino-say.sh", "mercutio", bob.jid, "hello")
    peers.dino_sends(file, bob.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert (bob.files / "taken" / file.name).read_bytes() == file.read_bytes()


def test_dino_first_learns_of_jet_by_jet_hello(peers, dino, user, cell, quick):
    cell("Dino", "jet", "first contact: after jet hello")
    frank = user("frank")
    said = frank.jet("hello", dino)
    assert said.code == 0, said
    receiver = frank.receives(frank.files / "taken")
    file = frank.file("after-hello.bin", 200_000)
    peers.dino_sends(file, frank.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert (frank.files / "taken" / file.name).read_bytes() == file.read_bytes()


def test_dino_can_send_after_a_transfer_the_other_way(peers, dino, user, cell, quick):
    cell("Dino", "jet", "first contact: after a transfer the other way")
    carol = user("carol")
    assert carol.jet("send", carol.file("there.bin", 20_000), dino).code == 0
    receiver = carol.receives(carol.files / "in")
    file = carol.file("back.bin", 200_000)
    peers.dino_sends(file, carol.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert (carol.files / "in" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("size", SIZES, ids=SIZES.get)
def test_dino_sends_to_jet(peers, known_to_dino, cell, quick, size):
    cell("Dino", "jet", f"{SIZES[size]}, direct")
    receiver = known_to_dino.receives(known_to_dino.files / "in")
    file = known_to_dino.file(f"from-dino-{size}.bin", size)
    peers.dino_sends(file, known_to_dino.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert taken.path == "direct"
    assert (known_to_dino.files / "in" / file.name).read_bytes() == file.read_bytes()


def test_jet_refuses_an_offer_of_dino_whose_encryption_the_server_removed(peers, known_to_dino, cell):
    cell("Dino", "jet", "server removes <security/>: refused, nothing saved")
    receiver = known_to_dino.receives(known_to_dino.files / "in")
    file = known_to_dino.file("stripped.bin", 9000)
    with peers.tampering("no-security"):
        peers.dino_sends(file, known_to_dino.jid)
        refused = receiver.ended()
    assert refused.code == 8, refused
    assert "without encryption" in refused.stderr
    assert not list((known_to_dino.files / "in").iterdir())
