"""jet and Dino, both ways: the files of both ends are compared byte by byte."""

import pytest

pytestmark = pytest.mark.usefixtures("dino")

SIZES = {1: "1 B", 20_000: "20 kB", 200_000: "200 kB", 4_900_000: "4.9 MB"}
WAYS = {"auto": ("direct", "direct"), "relay": ("proxy only", "relay")}


# jet to Dino.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", SIZES, ids=SIZES.get)
def test_jet_sends_to_dino(peers, dino, user, cell, quick, size, way):
    case, path = WAYS[way]
    cell("jet", "Dino", f"{SIZES[size]}, {case}")
    alice = user("alice")
    file = alice.file(f"to-dino-{size}-{way}.bin", size)
    sent = alice.jet("send", "--path", way, file, dino)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert sent.path == path
    assert peers.dino_received(file.name).read_bytes() == file.read_bytes()


def test_jet_refuses_to_send_in_band_to_dino(dino, user, cell, quick):
    cell("jet", "Dino", "in-band only", note="refused at once: Dino acknowledges every block and loses the file")
    alice = user("alice")
    sent = alice.jet("send", "--path", "ibb", alice.file("in-band.bin", 2000), dino)
    assert sent.code == 7
    assert "takes no in-band transfers" in sent.stderr
    quick(sent.seconds)


def test_jet_says_so_when_no_address_leads_to_dino(peers, dino, user, cell, quick):
    cell("jet", "Dino", "no usable address", note="ends with 'no usable connection'; nothing is sent")
    alice = user("alice")
    with peers.tampering("only-ibb"):
        sent = alice.jet("send", alice.file("nowhere.bin", 2000), dino)
    peers.restart_dino()
    assert sent.code == 5
    assert "no usable connection" in sent.stderr
    quick(sent.seconds)


# Dino to jet.


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


@pytest.mark.parametrize("size", [200_000, 4_900_000], ids=SIZES.get)
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


# What jet says about it.


def test_jet_caps_tells_the_truth_about_dino(dino, user, cell):
    cell("jet", "Dino", "jet caps names it and what matters (Dino tells no version)")
    told = user("alice").jet("caps", dino)
    assert told.code == 0, told
    # Dino does not tell its version (XEP-0092); no caps of ours can.
    assert "Dino" in told.stdout
    assert "no in-band" in told.stderr + told.stdout
    assert "ibb" not in told.stdout
