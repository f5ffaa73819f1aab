"""jet to Dino: the files of both ends are compared byte by byte."""

import pytest

pytestmark = pytest.mark.usefixtures("dino")

SIZES = {1: "1 B", 20_000: "20 kB", 200_000: "200 kB", 4_900_000: "4.9 MB"}
WAYS = {"auto": ("direct", "direct"), "relay": ("proxy only", "relay")}


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


def test_jet_sends_to_dino_ten_times_in_a_row(peers, dino, user, cell, quick):
    cell("jet", "Dino", "200 kB, direct, ten in a row")
    alice, slowest = user("alice"), 0.0
    for number in range(10):
        file = alice.file(f"row-{number}.bin", 200_000)
        sent = alice.jet("send", file, dino)
        assert sent.code == 0, sent
        assert peers.dino_received(file.name).read_bytes() == file.read_bytes()
        slowest = max(slowest, sent.seconds)
    quick(slowest)


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


# What jet says about it.


def test_jet_caps_tells_the_truth_about_dino(dino, user, cell):
    cell("jet", "Dino", "jet caps names it and what matters (Dino tells no version)")
    told = user("alice").jet("caps", dino)
    assert told.code == 0, told
    # Dino does not tell its version (XEP-0092); no caps of ours can.
    assert "Dino" in told.stdout
    assert "no in-band" in told.stderr + told.stdout
    assert "ibb" not in told.stdout
