"""Every pair of jet and another client, both ways: the files of both ends are compared byte by byte."""

import time

import pytest

DINO = "mercutio@lab.test"
DINO_FULL = f"{DINO}/dino.lab"
LIBERVIA_IN, LIBERVIA_OUT = "juliet@lab.test", "romeo@lab.test"
#: Every transfer, the start of the command line included.
LIMIT_S = 15.0

SIZES = {0: "empty", 1: "1 B", 9: "9 B", 20_000: "20 kB", 200_000: "200 kB", 300_000: "300 kB"}
SIZES |= {4_900_000: "4.9 MB", 5_000_000: "5 MB"}
WAYS = {"auto": "direct", "relay": "proxy only"}


def show_path(ended, path) -> None:
    assert f"path {path}" in ended.stderr, ended


# jet to Dino.


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 20_000, 200_000, 4_900_000], ids=SIZES.get)
def test_jet_sends_to_dino(peers, user, cell, record_property, size, way):
    cell("jet", "Dino", f"{SIZES[size]}, {WAYS[way]}")
    alice = user("alice")
    file = alice.file(f"to-dino-{size}-{way}.bin", size)
    sent = alice.jet("send", "--path", way, file, DINO)
    record_property("seconds", sent.seconds)
    assert sent.code == 0, sent
    assert sent.seconds < LIMIT_S
    show_path(sent, "direct" if way == "auto" else "relay")
    assert peers.dino_received(file.name).read_bytes() == file.read_bytes()


def test_jet_sends_to_dino_ten_times_in_a_row(peers, user, cell):
    cell("jet", "Dino", "200 kB, direct, ten in a row")
    alice = user("alice")
    for number in range(10):
        file = alice.file(f"row-{number}.bin", 200_000)
        sent = alice.jet("send", file, DINO)
        assert sent.code == 0, sent
        assert peers.dino_received(file.name).read_bytes() == file.read_bytes()


def test_jet_refuses_to_send_in_band_to_dino(peers, user, cell):
    cell("jet", "Dino", "in-band only", note="refused at once: Dino acknowledges every block and loses the file")
    alice = user("alice")
    sent = alice.jet("send", "--path", "ibb", alice.file("in-band.bin", 2000), DINO)
    assert sent.code == 7
    assert "takes no in-band transfers" in sent.stderr
    assert sent.seconds < LIMIT_S


def test_jet_says_so_when_no_address_leads_to_dino(peers, user, cell):
    cell("jet", "Dino", "no usable address", note="ends with 'no usable connection'; nothing is sent")
    alice = user("alice")
    with peers.tampering("only-ibb"):
        sent = alice.jet("send", alice.file("nowhere.bin", 2000), DINO)
    assert sent.code == 5
    assert "no usable connection" in sent.stderr
    peers.restart_dino()


# Dino to jet.


def dino_sends(peers, file, to) -> float:
    began = time.monotonic()
    peers.script("dino-send.sh", "mercutio", to, file)
    return began


def test_dino_first_learns_of_jet_by_a_chat_line(peers, user, cell):
    cell("Dino", "jet", "first contact: refused with a hint; then after one chat line")
    bob = user("bob")
    file = bob.file("first.bin", 200_000)
    receiver = bob.receives(bob.files / "refused")
    dino_sends(peers, file, bob.jid)
    refused = receiver.ended()
    assert refused.code == 8
    assert "not encrypted for this device" in refused.stderr
    assert "jet hello" in refused.stderr
    assert not list((bob.files / "refused").iterdir())

    receiver = bob.receives(bob.files / "taken")
    peers.script("dino-say.sh", "mercutio", bob.jid, "hello")
    dino_sends(peers, file, bob.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    assert (bob.files / "taken" / file.name).read_bytes() == file.read_bytes()


def test_dino_first_learns_of_jet_by_jet_hello(peers, user, cell):
    cell("Dino", "jet", "first contact: after jet hello")
    frank = user("frank")
    said = frank.jet("hello", DINO)
    assert said.code == 0, said
    receiver = frank.receives(frank.files / "taken")
    file = frank.file("after-hello.bin", 200_000)
    dino_sends(peers, file, frank.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    assert (frank.files / "taken" / file.name).read_bytes() == file.read_bytes()


def test_dino_can_send_after_a_transfer_the_other_way(peers, user, cell):
    cell("Dino", "jet", "first contact: after a transfer the other way")
    carol = user("carol")
    assert carol.jet("send", carol.file("there.bin", 20_000), DINO).code == 0
    receiver = carol.receives(carol.files / "in")
    file = carol.file("back.bin", 200_000)
    dino_sends(peers, file, carol.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    assert (carol.files / "in" / file.name).read_bytes() == file.read_bytes()


@pytest.fixture
def known_to_dino(peers, user):
    """An account of jet that Dino has a session with."""
    grace = user("grace")
    if not (grace.path / "known").exists():
        assert grace.jet("send", grace.file("introduction.bin", 1), DINO).code == 0
        (grace.path / "known").touch()
    return grace


@pytest.mark.parametrize("size", [200_000, 4_900_000], ids=SIZES.get)
def test_dino_sends_to_jet(peers, known_to_dino, cell, size):
    cell("Dino", "jet", f"{SIZES[size]}, direct")
    receiver = known_to_dino.receives(known_to_dino.files / "in")
    file = known_to_dino.file(f"from-dino-{size}.bin", size)
    dino_sends(peers, file, known_to_dino.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    show_path(taken, "direct")
    assert (known_to_dino.files / "in" / file.name).read_bytes() == file.read_bytes()


def test_dino_sends_to_jet_through_a_proxy_twenty_times_in_a_row(peers, known_to_dino, cell, record_property):
    cell("Dino", "jet", "200 kB, proxy only, 20 in a row")
    into = known_to_dino.files / "in"
    receiver = known_to_dino.receives(into, "--path", "relay", "-n", "20")
    for number in range(20):
        file = known_to_dino.file(f"proxied-{number}.bin", 200_000)
        dino_sends(peers, file, known_to_dino.jid)
        saved = into / file.name
        wait_until_saved(saved)
        assert saved.read_bytes() == file.read_bytes()
    taken = receiver.ended()
    assert taken.code == 0, taken
    assert "path direct" not in taken.stderr


def wait_until_saved(path) -> None:
    ends = time.monotonic() + LIMIT_S
    while not path.exists():
        assert time.monotonic() < ends, f"'{path.name}' was never saved"
        time.sleep(0.05)


# jet to Libervia.


@pytest.mark.parametrize("size", [0, 9, 300_000, 5_000_000], ids=SIZES.get)
def test_jet_sends_to_libervia(peers, user, cell, record_property, size):
    cell("jet", "Libervia", f"{SIZES[size]}, direct")
    dave = user("dave")
    sent, same = to_libervia(peers, dave, f"to-libervia-{size}.bin", size)
    record_property("seconds", sent.seconds)
    assert sent.code == 0, sent
    assert sent.seconds < LIMIT_S
    show_path(sent, "direct")
    assert same


def to_libervia(peers, home, name, size, *words):
    file, into = home.file(name, size), home.files / "libervia"
    with peers.libervia_receives(home.jid, into):
        sent = home.jet("send", *words, file, LIBERVIA_IN)
    return sent, (into / name).exists() and (into / name).read_bytes() == file.read_bytes()


def test_libervia_compares_the_checksum_of_jet_at_once(peers, user, cell):
    cell("jet", "Libervia", "checksum as hex text: no wait of 5 s")
    began = time.time()
    sent, same = to_libervia(peers, user("dave"), "checked.bin", 300_000)
    assert sent.code == 0, sent
    assert same
    assert peers.sent_at(began, "session-terminate") - peers.sent_at(began, "<checksum") < 4


@pytest.mark.parametrize(("words", "case"), [(("--path", "relay"), "proxy only"), (("--path", "ibb"), "in-band only")])
def test_jet_sends_to_libervia_by_other_ways(peers, user, cell, words, case):
    cell("jet", "Libervia", f"300 kB, {case}")
    sent, same = to_libervia(peers, user("dave"), "other.bin", 300_000, *words)
    assert sent.code == 0, sent
    assert same


def test_jet_falls_back_to_in_band_towards_libervia(peers, user, cell):
    cell("jet", "Libervia", "300 kB, in-band fall-back")
    with peers.tampering("only-ibb"):
        sent, same = to_libervia(peers, user("dave"), "fallback.bin", 300_000)
    assert sent.code == 0, sent
    show_path(sent, "in-band")
    assert same


def test_jet_sends_to_libervia_at_the_first_contact(peers, user, cell):
    cell("jet", "Libervia", "300 kB, first contact")
    sent, same = to_libervia(peers, user("erin"), "first.bin", 300_000)
    assert sent.code == 0, sent
    assert same


# Libervia to jet.


@pytest.mark.parametrize("size", [0, 9, 300_000, 5_000_000], ids=SIZES.get)
def test_libervia_sends_to_jet(peers, user, cell, record_property, size):
    cell("Libervia", "jet", f"{SIZES[size]}, direct")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file(f"from-libervia-{size}.bin", size)
    began = time.monotonic()
    peers.libervia_sends(file, receiver.jid)
    record_property("seconds", time.monotonic() - began)
    taken = receiver.ended()
    assert taken.code == 0, taken
    show_path(taken, "direct")
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("word", "case"), [("only-ibb", "in-band fall-back"), ("only-proxy", "its proxy cannot be activated: in-band")]
)
def test_libervia_falls_back_to_in_band_towards_jet(peers, user, cell, word, case):
    cell("Libervia", "jet", f"300 kB, {case}")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file = dave.file("fallback.bin", 300_000)
    with peers.tampering(word):
        peers.libervia_sends(file, receiver.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    show_path(taken, "in-band")
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()


def test_libervia_proposes_to_the_bare_address(peers, user, cell):
    cell("Libervia", "jet", "300 kB, to the bare JID (XEP-0353 propose and proceed)")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in")
    file, began = dave.file("proposed.bin", 300_000), time.time()
    peers.libervia_sends(file, dave.jid)
    taken = receiver.ended()
    assert taken.code == 0, taken
    assert (dave.files / "in" / file.name).read_bytes() == file.read_bytes()
    assert any("<proceed " in stanza for stanza in peers.stanzas(began))


def test_a_proposal_of_libervia_that_jet_may_not_take_is_rejected(peers, user, cell):
    cell("Libervia", "jet", "its proposal from somebody who is not let in: rejected")
    dave = user("dave")
    receiver = dave.receives(dave.files / "in", "--from", DINO)
    file, began = dave.file("unwanted.bin", 9), time.time()
    with pytest.raises(AssertionError):
        peers.libervia_sends(file, dave.jid)
    receiver.process.terminate()
    receiver.ended()
    stanzas = peers.stanzas(began)
    assert any("<reject " in stanza for stanza in stanzas)
    assert not any("session-initiate" in stanza for stanza in stanzas)
    assert not list((dave.files / "in").iterdir())


# A server that removes the encryption.


@pytest.mark.parametrize("client", ["Libervia", "Dino"])
def test_jet_refuses_an_offer_whose_encryption_the_server_removed(peers, user, known_to_dino, cell, client):
    cell(client, "jet", "server removes <security/>: refused, nothing saved")
    home = user("dave") if client == "Libervia" else known_to_dino
    receiver = home.receives(home.files / "in")
    file = home.file("stripped.bin", 9000)
    with peers.tampering("no-security"):
        if client == "Libervia":
            with pytest.raises(AssertionError, match="security-error"):
                peers.libervia_sends(file, receiver.jid)
        else:
            dino_sends(peers, file, home.jid)
        refused = receiver.ended()
    assert refused.code == 8, refused
    assert "without encryption" in refused.stderr
    assert not list((home.files / "in").iterdir())


def test_what_dino_does_with_an_offer_whose_encryption_was_removed(peers, user, cell, record_property):
    """Nothing is demanded: what another client makes of it is written down."""
    cell("Libervia", "Dino", "server removes <security/>")
    file = user("alice").file("stripped-for-dino.bin", 9000)
    with peers.tampering("no-security"):
        try:
            peers.libervia_sends(file, DINO_FULL)
            saved = peers.dino_received(file.name, 5).read_bytes()
        except AssertionError:
            record_property("note", "not saved")
            return
    sealed = len(saved) - 9000
    record_property("note", "saved as if nothing were missing" + (f": {sealed} bytes too long" if sealed else ""))


def test_what_libervia_does_with_an_offer_whose_encryption_was_removed(peers, user, cell, record_property):
    """Nothing is demanded: what another client makes of it is written down."""
    cell("Libervia", "Libervia", "server removes <security/>")
    home = user("alice")
    file, into = home.file("stripped-for-libervia.bin", 9000), home.files / "in"
    with peers.tampering("no-security"), peers.libervia_receives(LIBERVIA_OUT, into):
        peers.libervia_sends(file, LIBERVIA_IN)
    saved = (into / file.name).read_bytes() if (into / file.name).exists() else None
    note = "not saved" if saved is None else "saved as plain" if saved == file.read_bytes() else "saves the ciphertext"
    record_property("note", note)


# What jet says about the others.


def test_jet_caps_tells_the_truth_about_the_others(peers, user, cell):
    cell("jet", "Dino", "jet caps names it and what matters (Dino tells no version)")
    alice = user("alice")
    dino, libervia = alice.jet("caps", DINO), alice.jet("caps", LIBERVIA_IN)
    assert dino.code == libervia.code == 0
    # Dino does not tell its version (XEP-0092); no caps of ours can.
    assert "Dino" in dino.stdout
    assert "no in-band" in dino.stderr + dino.stdout
    assert "ibb" not in dino.stdout
    assert "Libervia 0.9" in libervia.stdout
    assert "ibb" in libervia.stdout
