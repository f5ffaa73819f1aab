"""Whose keys count: shown, compared, named, revoked, and the loud stop for one that nobody has compared."""

import io
import json
import re
import shutil

import pytest
import segno

from jetcli.state.store import KeyValues, Store
from jetcli.xmpp.omemo_names import own_device

pytestmark = pytest.mark.matrix

GROUPS = re.compile(r"(?:[0-9a-f]{8} ){7}[0-9a-f]{8}")


def key_of(home):
    with Store.open(home.path / "state" / home.jid) as store:
        return own_device(KeyValues(store))


@pytest.fixture
def two(home, jet):
    """Romeo and Juliet, both with an OMEMO device that is published."""
    juliet = home("juliet")
    romeo = home("romeo", contacts=[juliet])
    for each in (juliet, romeo):
        assert jet(each, "login", each.jid, stdin=b"", env={"JET_PASSWORD": each.password}).finished().code == 0
    return romeo, juliet


@pytest.fixture
def second_machine(jet, tmp_path):
    """Let the owner of a home log in on another machine, which has a key of its own."""

    def make(home):
        other = type(home)(tmp_path / "machine2", home.files, home.jid, home.password, home.server, home.address)
        other.path.mkdir(mode=0o700)
        shutil.copy(home.path / "config.toml", other.path)
        (other.path / "config.toml").chmod(0o600)
        assert jet(other, "login", other.jid, env={"JET_PASSWORD": other.password}).finished().code == 0
        return other

    return make


def send(jet, romeo, juliet, *options):
    return jet(romeo, "send", romeo.file("a.txt", b"abc"), juliet.jid, *options)


def test_my_own_key_as_text_address_and_json(jet, two):
    romeo, _juliet = two
    device_id, key = key_of(romeo)
    table = jet(romeo, "trust").finished()
    assert table.stdout == f"{device_id}\t{GROUPS.search(table.stdout)[0]}\n"
    assert table.stdout.split("\t")[1].replace(" ", "").strip() == key.hex()
    uri = f"xmpp:{romeo.jid}?omemo-sid-{device_id}={key.hex()}"
    assert jet(romeo, "trust", "--uri").finished().stdout == f"{uri}\n"
    row = jet(romeo, "trust", "--json").event("device")
    assert (row["device"], row["fingerprint"], row["uri"]) == (device_id, key.hex(), uri)


def test_a_qr_code_is_for_terminals(jet, two):
    ended = jet(two[0], "trust", "--qr").finished()
    assert (ended.code, ended.error, ended.hint) == (2, "a QR code needs a terminal", "jet trust --uri")


def test_before_the_first_login_there_is_no_key(jet, home):
    fresh = home("romeo")
    ended = jet(fresh, "trust").finished()
    assert (ended.code, ended.hint) == (3, f"jet login {fresh.jid}")


def test_a_contact_never_met_is_asked_for_what_it_publishes(jet, two):
    romeo, juliet = two
    device_id, key = key_of(juliet)
    ended = jet(romeo, "trust", juliet.jid).finished()
    device, shown, trust, seen = ended.stdout.rstrip("\n").split("\t")
    assert (device, shown.replace(" ", ""), trust, seen) == (str(device_id), key.hex(), "new key", "")


def test_a_person_compares_on_a_terminal(jet, two, receiver):
    romeo, juliet = two
    receiver(juliet)
    assert send(jet, romeo, juliet).finished().code == 0
    asking = jet(romeo, "trust", juliet.jid, "--verify", terminal=True)
    asking.wait_for(r"Is it the same\? \[y/N\]")
    assert GROUPS.search(asking.stderr)[0].replace(" ", "") == key_of(juliet)[1].hex()
    asking.type("y\n")
    assert asking.finished().code == 0
    assert "\tverified\t" in jet(romeo, "trust", juliet.jid).finished().stdout


def test_enter_alone_verifies_nothing(jet, two, receiver):
    romeo, juliet = two
    receiver(juliet)
    assert send(jet, romeo, juliet).finished().code == 0
    asking = jet(romeo, "trust", juliet.jid, "--verify", terminal=True)
    asking.wait_for(r"Is it the same\?")
    asking.type("\n")
    assert asking.finished().code == 0
    assert "\tnot verified\t" in jet(romeo, "trust", juliet.jid).finished().stdout


def test_a_new_device_after_verification_stops_everything_until_it_is_decided(jet, two, second_machine, receiver):
    romeo, juliet = two
    first = key_of(juliet)[1].hex()
    assert jet(romeo, "trust", juliet.jid, "--add", first).finished().code == 0
    other = second_machine(juliet)
    new_id, new_key = key_of(other)
    receiver(juliet)
    stopped = send(jet, romeo, juliet).finished()
    assert stopped.code == 8
    assert stopped.error == f"{juliet.jid} has a new device ({new_id}) since you verified this contact"
    assert stopped.hint.endswith(f"jet trust {juliet.jid} --verify")
    assert juliet.saved == {}
    rows = [json.loads(line) for line in jet(romeo, "trust", juliet.jid, "--json").finished().stdout.splitlines()]
    assert {r["fingerprint"]: r["trust"] for r in rows if r["type"] == "device"} == {
        first: "verified",
        new_key.hex(): "undecided",
    }
    # Naming the key that is meant is a decision for this run ...
    assert send(jet, romeo, juliet, "--fingerprint", first).finished().code == 0
    # ... revoking the other one for good.
    assert jet(romeo, "trust", juliet.jid, "--revoke", new_key.hex()).finished().code == 0
    receiver(juliet)
    assert send(jet, romeo, juliet).finished().code == 0


def test_the_address_of_a_contact_verifies_it(jet, two, receiver):
    romeo, juliet = two
    uri = jet(juliet, "trust", "--uri").finished().stdout.strip()
    assert jet(romeo, "trust", juliet.jid, "--add", uri).finished().code == 0
    receiver(juliet)
    assert send(jet, romeo, juliet, "--trust", "verified").finished().code == 0
    elsewhere = jet(romeo, "trust", romeo.jid, "--add", uri).finished()
    assert (elsewhere.code, elsewhere.error) == (2, f"that is the key of {juliet.jid}, not of {romeo.jid}")


def test_verified_only_means_verified_only(jet, two, receiver):
    romeo, juliet = two
    receiver(juliet)
    ended = send(jet, romeo, juliet, "--trust", "verified").finished()
    assert (ended.code, ended.error) == (8, f"no trusted device of {juliet.jid}")
    assert key_of(juliet)[1].hex() in ended.hint.replace(" ", "")
    assert juliet.saved == {}


def test_a_fingerprint_of_nobody_lets_nothing_out(jet, two, receiver):
    romeo, juliet = two
    receiver(juliet)
    assert send(jet, romeo, juliet, "--fingerprint", "ab" * 32).finished().code == 8
    assert juliet.saved == {}


def test_a_receiver_that_wants_verified_keys_refuses_others(jet, two, receiver):
    romeo, juliet = two
    receiving = receiver(juliet, "--trust", "verified", "--forever")
    assert send(jet, romeo, juliet).finished().code == 8
    receiving.wait_for("is not trusted")
    assert receiving.code is None
    assert juliet.saved == {}


def fingerprints(jet, home, jid: str) -> list[str]:
    rows = [json.loads(line) for line in jet(home, "--json", "trust", jid).finished().stdout.splitlines()]
    return [row["fingerprint"] for row in rows if "fingerprint" in row]


def test_a_fingerprint_that_nobody_has_is_not_revoked(jet, two, receiver):
    romeo, juliet = two
    receiving = receiver(juliet)
    assert jet(romeo, "send", romeo.file("a.txt", b"x"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0
    [known] = fingerprints(jet, romeo, juliet.jid)
    wrong = known[:-1] + ("0" if known[-1] != "0" else "1")
    ended = jet(romeo, "trust", juliet.jid, "--revoke", wrong).finished()
    assert (ended.code, ended.hint) == (2, f"jet trust {juliet.jid}"), ended
    assert ended.error.startswith(f"no key of {juliet.jid} has the fingerprint ")
    assert fingerprints(jet, romeo, juliet.jid) == [known]
    assert jet(romeo, "trust", juliet.jid, "--revoke", known).finished().code == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--verify"], "missing JID"),
        (["--add", "00"], "missing JID"),
        (["juliet@x.org", "--uri"], "--uri and --qr show your own key"),
        (["juliet@x.org", "--verify"], "nobody is there to compare fingerprints"),
        (["juliet@x.org", "--add", "00"], "'00': a fingerprint has 64 hex digits"),
        (["juliet@x.org", "--add", "xmpp:juliet@x.org"], "'xmpp:juliet@x.org': not an xmpp: address"),
    ],
)
def test_words_that_make_no_sense(jet, home, words, error):
    ended = jet(home("romeo"), "trust", *words).finished()
    assert ended.code == 2
    assert ended.error.startswith(error)


def test_on_a_terminal_a_fingerprint_stays_in_one_line(two, tmp_path):
    """Standard output is a terminal of 80 columns here, which `jet` of these tests is not."""
    romeo, juliet = two
    assert on_terminal(romeo, "trust").count(GROUPS.search(on_terminal(romeo, "trust"))[0]) == 1
    table = on_terminal(romeo, "trust", juliet.jid)
    assert f"device {key_of(juliet)[0]}: new key" in table
    assert GROUPS.search(table)[0].replace(" ", "") == key_of(juliet)[1].hex()


def test_the_qr_code_is_that_of_the_address(two):
    shown, expected = on_terminal(two[0], "trust", "--qr"), io.StringIO()
    uri = on_terminal(two[0], "trust", "--uri").strip()
    assert uri.startswith(f"xmpp:{two[0].jid}?omemo-sid-")
    segno.make(uri, error="m").terminal(expected, compact=True)
    assert shown.splitlines() == expected.getvalue().splitlines()


def on_terminal(home, *words):
    """Return what `jet` writes when its standard output is a terminal."""
    import os
    import pty
    import subprocess
    import sys

    ours, theirs = pty.openpty()
    env = {"PATH": os.environ["PATH"], "JET_HOME": str(home.path), "TERM": "xterm", "LANG": "C.UTF-8"}
    with subprocess.Popen([sys.executable, "-m", "jetcli", *words], stdout=theirs, stderr=subprocess.DEVNULL, env=env):
        os.close(theirs)
        said = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                data = b""
            if not data:
                os.close(ours)
                return said.decode()
            said += data
