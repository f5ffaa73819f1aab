"""jet and Libervia, both ways: the files of both ends are compared byte by byte."""

import time
from contextlib import suppress
from subprocess import TimeoutExpired

import pytest

pytestmark = pytest.mark.usefixtures("libervia")

SIZES = {0: "empty", 9: "9 B", 300_000: "300 kB", 5_000_000: "5 MB"}


# jet to Libervia.


@pytest.fixture
def to_libervia(peers, libervia):
    """Send a file of random bytes to Libervia and say how jet ended, and whether the same bytes arrived."""

    def send(home, name, size, *words):
        file, into = home.file(name, size), home.files / "libervia"
        with peers.libervia_receives(home.jid, into):
            sent = home.jet("send", *words, file, libervia[1])
        return sent, (into / name).exists() and (into / name).read_bytes() == file.read_bytes()

    return send


@pytest.mark.parametrize("size", SIZES, ids=SIZES.get)
def test_jet_sends_to_libervia(to_libervia, user, cell, quick, size):
    cell("jet", "Libervia", f"{SIZES[size]}, direct")
    sent, same = to_libervia(user("dave"), f"to-libervia-{size}.bin", size)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert sent.path == "direct"
    assert same


def test_libervia_compares_the_checksum_of_jet_at_once(peers, to_libervia, user, cell, quick):
    cell("jet", "Libervia", "checksum as hex text: no wait of 5 s")
    began = time.time()
    sent, same = to_libervia(user("dave"), "checked.bin", 300_000)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert same
    assert peers.sent_at(began, "session-terminate") - peers.sent_at(began, "<checksum") < 4


@pytest.mark.parametrize(
    ("words", "case", "path"),
    [(("--path", "relay"), "proxy only", "relay"), (("--path", "ibb"), "in-band only", "in-band")],
)
def test_jet_sends_to_libervia_by_other_ways(to_libervia, user, cell, quick, words, case, path):
    cell("jet", "Libervia", f"300 kB, {case}")
    sent, same = to_libervia(user("dave"), "other.bin", 300_000, *words)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert sent.path == path
    assert same


def test_jet_falls_back_to_in_band_towards_libervia(peers, to_libervia, user, cell, quick):
    cell("jet", "Libervia", "300 kB, in-band fall-back")
    with peers.tampering("only-ibb"):
        sent, same = to_libervia(user("dave"), "fallback.bin", 300_000)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert sent.path == "in-band"
    assert same


def test_jet_sends_to_libervia_at_the_first_contact(to_libervia, user, cell, quick):
    cell("jet", "Libervia", "300 kB, first contact")
    sent, same = to_libervia(user("erin"), "first.bin", 300_000)
    assert sent.code == 0, sent
    quick(sent.seconds)
    assert same


# Libervia to jet.


@pytest.mark.parametrize("size", SIZES, ids=SIZES.get)
def test_libervia_sends_to_jet(peers, user, cell, quick, size):
    cell("Libervia", "jet", f"{SIZES[size]}, direct")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file(f"from-libervia-{size}.bin", size)
    peers.libervia_sends(file, receiver.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert taken.path == "direct"
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("word", "case"), [("only-ibb", "in-band fall-back"), ("only-proxy", "its proxy cannot be activated: in-band")]
)
def test_libervia_falls_back_to_in_band_towards_jet(peers, user, cell, quick, word, case):
    cell("Libervia", "jet", f"300 kB, {case}")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file("fallback.bin", 300_000)
    with peers.tampering(word):
        peers.libervia_sends(file, receiver.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert taken.path == "in-band"
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()


def test_libervia_proposes_to_the_bare_address(peers, user, cell, quick):
    cell("Libervia", "jet", "300 kB, to the bare JID (XEP-0353 propose and proceed)")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file("proposed.bin", 300_000)
    peers.libervia_sends(file, dave.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    quick(taken.seconds)
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()
    assert any("<proceed " in stanza for stanza in peers.stanzas(receiver.began))


def test_a_proposal_of_libervia_that_jet_may_not_take_is_rejected(peers, user, cell):
    cell("Libervia", "jet", "its proposal from somebody who is not let in: rejected")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in", "--from", "mercutio@lab.test")
    file = dave.file("unwanted.bin", 9)
    with pytest.raises(AssertionError):  # it waits on
        peers.libervia_sends(file, dave.jid, limit_s=20)
    receiver.process.terminate()
    receiver.ended()
    stanzas = peers.stanzas(receiver.began)
    assert any("<reject " in stanza for stanza in stanzas)
    assert not any("session-initiate" in stanza for stanza in stanzas)
    assert not list((dave.files / "in").iterdir())


def test_jet_refuses_an_offer_of_libervia_whose_encryption_the_server_removed(peers, user, cell):
    cell("Libervia", "jet", "server removes <security/>: refused, nothing saved")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file("stripped.bin", 9000)
    with peers.tampering("no-security"):
        with pytest.raises(AssertionError, match="security-error"):
            peers.libervia_sends(file, receiver.jid)
        refused = receiver.ended()
    assert refused.code == 8, refused
    assert "without encryption" in refused.stderr
    assert not list((dave.files / "in").iterdir())


# What others make of an offer whose encryption the server has removed: nothing is demanded, it is written down.


def test_what_dino_does_with_an_offer_whose_encryption_was_removed(peers, dino, user, cell, record_property):
    cell("Libervia", "Dino", "server removes <security/>")
    file = user("alice").file("stripped-for-dino.bin", 9000)
    with peers.tampering("no-security"):
        try:
            peers.libervia_sends(file, f"{dino}/dino.lab")
            saved = peers.dino_received(file.name, 5).read_bytes()
        except AssertionError:
            record_property("note", "not saved")
            return
    sealed = len(saved) - 9000
    record_property("note", "saved as if nothing were missing" + (f": {sealed} bytes too long" if sealed else ""))


def test_what_libervia_does_with_an_offer_whose_encryption_was_removed(peers, libervia, user, cell, record_property):
    cell("Libervia", "Libervia", "server removes <security/>")
    home = user("alice")
    file, into = home.file("stripped-for-libervia.bin", 9000), home.files / "in"
    into_libervia = peers.libervia_receives(libervia[0], into)
    with suppress(AssertionError, TimeoutExpired), peers.tampering("no-security"), into_libervia:
        peers.libervia_sends(file, libervia[1])
    saved = (into / file.name).read_bytes() if (into / file.name).exists() else None
    note = "not saved" if saved is None else "saved as plain" if saved == file.read_bytes() else "saves the ciphertext"
    record_property("note", note)


# What jet says about it.


def test_jet_caps_tells_the_truth_about_libervia(libervia, user, cell):
    cell("jet", "Libervia", "jet caps names it, its version and its ways")
    told = user("alice").jet("caps", libervia[1])
    assert told.code == 0, told
    assert "Libervia 0.9" in told.stdout
    assert "ibb" in told.stdout
