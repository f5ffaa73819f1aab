"""Files between people who are no contacts: one proposes, the other one's list of who may send decides (XEP-0353)."""

import pytest

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
