"""Two `jet resume` find each other, whichever is started first; a side that is not there is waited for."""

from dataclasses import replace

import pytest


@pytest.fixture
def another_machine(tmp_path):
    """Make another machine of a home's account: another state, and so another OMEMO device."""

    def make(home):
        place = tmp_path / "another"
        (place / "home").mkdir(parents=True, mode=0o700)
        (place / "files").mkdir()
        machine = replace(home, path=place / "home", files=place / "files")
        machine.enrol()
        machine.network()
        return machine

    return make


def both_complete(first, second) -> None:
    assert (first.finished().code, second.finished().code) == (0, 0), (first, second)


def test_both_sides_resume_in_the_same_moment(new_pair, broken, jet, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    both_complete(jet(romeo, "resume"), jet(juliet, "resume"))
    whole(new_pair, connection)


@pytest.mark.matrix
@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_one_side_resumes_before_the_other_is_online(new_pair, broken, jet, whole, first):
    romeo, juliet = new_pair
    connection = broken(new_pair, "sender", "receiver")
    early, late = (romeo, juliet) if first == "sender" else (juliet, romeo)
    waiting = jet(early, "resume")
    waiting.wait_for("not online; waiting for a jet that knows the transfer")
    both_complete(waiting, jet(late, "resume"))
    whole(new_pair, connection)


@pytest.mark.matrix
def test_a_sender_that_waits_finds_whoever_only_receives(new_pair, broken, jet, receiver, whole):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    resuming = jet(romeo, "resume", "--wait", "forever")
    resuming.wait_for("not online; waiting for a jet that knows the transfer")
    both_complete(resuming, receiver(juliet))
    whole(new_pair, connection)


@pytest.mark.matrix
def test_a_jet_that_does_not_know_the_transfer_is_asked_and_the_right_one_waited_for(
    new_pair, broken, jet, receiver, another_machine, whole
):
    romeo, juliet = new_pair
    connection = broken(new_pair)
    stranger = receiver(another_machine(juliet))
    resuming = jet(romeo, "resume")
    resuming.wait_for("knows nothing of the transfer .* waiting for a jet")
    both_complete(resuming, jet(juliet, "resume"))
    whole(new_pair, connection)
    stranger.end()


@pytest.mark.matrix
def test_nobody_is_waited_for_longer_than_was_said(new_pair, broken, jet):
    romeo, juliet = new_pair
    broken(new_pair)
    resuming = jet(romeo, "resume", "--wait", "0s").finished()
    assert (resuming.code, resuming.error) == (6, f"{juliet.jid} is not online"), resuming
    [record] = [event for event in jet(romeo, "--json", "resume", "--list").finished().events if "transfer" in event]
    assert resuming.hint == f"jet resume --wait 1h {record['transfer']}"


@pytest.mark.matrix
def test_waiting_is_told_as_an_event(new_pair, broken, jet):
    romeo, _ = new_pair
    broken(new_pair)
    resuming = jet(romeo, "--json", "resume", "--wait", "4s").finished()
    assert resuming.code == 6, resuming
    assert resuming.event("waiting")["for"] == "peer"
