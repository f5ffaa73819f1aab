"""Many files in one command, and many commands of one account."""

import pytest


def test_a_command_with_many_small_files_delivers_every_one(pair, jet, receiver):
    romeo, juliet = pair
    names = [f"{number:02}.txt" for number in range(40)]
    files = [romeo.file(name, name.encode()) for name in names]
    listening = receiver(juliet)
    sending = jet(romeo, "send", "--to", juliet.jid, *files).finished()
    assert (sending.code, listening.finished().code) == (0, 0), sending
    assert juliet.saved == {name: name.encode() for name in names}


def sent_at_once(romeo, juliet, jet, receiver, count: int) -> None:
    """Start `count` senders of one account against one receiver; then send once in either direction."""
    receiving = receiver(juliet, "--forever")
    files = [romeo.file(f"{number}.bin", 20_000) for number in range(count)]
    senders = [jet(romeo, "send", file, juliet.jid) for file in files]
    for sending in senders:
        assert sending.finished(300).code == 0, sending
    assert juliet.saved == romeo.saved
    assert receiving.code is None
    assert jet(romeo, "send", romeo.file("after.bin", 10), juliet.jid).finished().code == 0
    answered = receiver(romeo)
    assert jet(juliet, "send", juliet.file("answer.bin", 10), romeo.jid).finished().code == 0
    assert answered.finished().code == 0, answered


def test_six_senders_of_one_account_at_once_leave_the_encryption_sound(new_pair, jet, receiver):
    sent_at_once(*new_pair, jet, receiver, 6)


@pytest.mark.soak
def test_fifty_senders_of_one_account_at_once_leave_the_encryption_sound(new_pair, jet, receiver):
    sent_at_once(*new_pair, jet, receiver, 50)
