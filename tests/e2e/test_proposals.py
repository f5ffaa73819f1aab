"""Files between people who are no contacts: one proposes, the other one's list of who may send decides (XEP-0353)."""

import re

import pytest
from killings import killed_half_way

pytestmark = pytest.mark.matrix


@pytest.fixture
def strangers(home):
    """Romeo and Juliet, who have never heard of each other."""
    return home("romeo"), home("juliet")


def test_a_stranger_who_is_let_in_is_found_by_the_bare_address(strangers, jet, receiver):
    romeo, juliet = strangers
    waiting = receiver(juliet, "--from", romeo.jid)
    file = romeo.file("first.bin", 100_000)
    sent = jet(romeo, "send", file, juliet.jid).finished()
    assert sent.code == 0, sent
    assert waiting.finished().code == 0
    assert juliet.saved["first.bin"] == file.read_bytes()


def test_several_files_follow_one_proposal(strangers, jet, receiver):
    romeo, juliet = strangers
    waiting = receiver(juliet, "--from", "anyone")
    files = [romeo.file(f"{number}.bin", 1000) for number in range(2)]
    sent = jet(romeo, "send", *files, juliet.jid).finished()
    assert sent.code == 0, sent
    assert waiting.finished().code == 0
    assert {name: juliet.saved[name] for name in ("0.bin", "1.bin")} == {file.name: file.read_bytes() for file in files}


def test_a_stranger_who_is_not_let_in_learns_nothing(strangers, jet, receiver):
    romeo, juliet = strangers
    waiting = receiver(juliet)
    sent = jet(romeo, "send", romeo.file("unwanted.bin", 10), juliet.jid).finished()
    assert sent.code == 6, sent
    assert sent.error.startswith(f"{juliet.jid} is no contact of yours")
    assert "none of them answered" in sent.error
    waiting.wait_for(f"declined an offer of {romeo.jid}, who is no contact")
    assert not juliet.saved


def test_a_stranger_who_is_let_in_but_does_not_listen_is_told_of(strangers, jet):
    romeo, juliet = strangers
    sent = jet(romeo, "send", romeo.file("nobody.bin", 10), juliet.jid).finished()
    assert sent.code == 6, sent
    assert "jet receive --from" in sent.hint


def test_a_dry_run_takes_its_proposal_back(strangers, jet, receiver, server):
    romeo, juliet = strangers
    receiver(juliet, "--from", romeo.jid)
    assert jet(romeo, "send", "--dry-run", romeo.file("a.txt", 10), juliet.jid).finished().code == 0
    said = [line for line in server.stanza_log.read_text().splitlines() if f"\t{romeo.jid}/" in line]
    [proposed] = re.findall(r"<propose [^>]*id='(\w+)'", "".join(said))
    assert re.findall(r"<retract [^>]*id='(\w+)'", "".join(said)) == [proposed]


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_strangers_find_each_other_again_for_what_was_interrupted(strangers, over, jet, receiver, first):
    romeo, juliet = strangers
    connection, _ = killed_half_way(romeo, juliet, over, jet, receiver, "--from", romeo.jid)
    homes = (romeo, juliet) if first == "sender" else (juliet, romeo)
    waiting = jet(homes[0], "resume")
    waiting.wait_for("none of them answered; waiting for a jet that knows the transfer")
    coming = jet(homes[1], "resume").finished()
    assert (coming.code, waiting.finished().code) == (0, 0), (coming, waiting)
    assert juliet.saved == romeo.saved
    assert connection.carried < 22_000_000, "what had arrived was sent again"


def test_the_same_send_again_finds_a_stranger_who_resumes(strangers, over, jet, receiver):
    romeo, juliet = strangers
    connection, _ = killed_half_way(romeo, juliet, over, jet, receiver, "--from", romeo.jid)
    waiting = jet(juliet, "resume")
    waiting.wait_for("none of them answered; waiting for a jet that knows the transfer")
    [file] = romeo.saved
    sending = jet(romeo, "send", file, juliet.jid).finished()
    assert (sending.code, waiting.finished().code) == (0, 0), (sending, waiting)
    assert juliet.saved == romeo.saved
    assert connection.carried < 22_000_000, "what had arrived was sent again"


def test_a_stranger_who_asks_for_a_transfer_that_is_not_known_learns_nothing(strangers, over, jet, receiver):
    """The record is forgotten at the receiver, who even lets the sender in: there is nobody to resume with."""
    romeo, juliet = strangers
    _, receiving = killed_half_way(romeo, juliet, over, jet, receiver, "--from", romeo.jid)
    transfer = receiving.event("offer")["id"]
    assert jet(juliet, "resume", "--forget", transfer).finished().code == 0
    receiver(juliet, "--from", romeo.jid)
    resuming = jet(romeo, "resume", "--wait", "1s").finished()
    assert resuming.code == 6, resuming
    assert "none of them answered" in resuming.error
