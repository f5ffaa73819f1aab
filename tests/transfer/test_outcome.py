"""What one side says of its failure, and what the other makes of it."""

import pytest

from jetcli.errors import (
    DeclinedError,
    IntegrityError,
    InterruptedTransferError,
    LocalFileError,
    NetworkError,
    NotResumableError,
    RemoteProtocolError,
    TrustError,
    UnavailableError,
    UnsupportedError,
)
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import SOURCE_CHANGED, Reason
from jetcli.transfer.outcome import failure_of, reason_for


def heard(error, *, flowing: bool):
    """Return what the peer makes of our failure."""
    return failure_of(Ended(reason_for(error), by_peer=True), "bob@south.test/x", "a.txt", flowing=flowing)


@pytest.mark.parametrize(
    ("ours", "before", "after"),
    [
        (DeclinedError("not now"), DeclinedError, DeclinedError),
        (TrustError("no key"), TrustError, IntegrityError),
        (IntegrityError("altered"), TrustError, IntegrityError),
        (UnsupportedError("no way"), UnsupportedError, InterruptedTransferError),
        (LocalFileError("disk full"), DeclinedError, InterruptedTransferError),
        (NetworkError("cut"), NetworkError, InterruptedTransferError),
        (InterruptedTransferError("cut"), NetworkError, InterruptedTransferError),
        (RemoteProtocolError("too much", condition="media-error"), DeclinedError, InterruptedTransferError),
        (RemoteProtocolError("no archive", condition="decline"), DeclinedError, DeclinedError),
        (RemoteProtocolError("odd", condition="item-not-found"), UnsupportedError, InterruptedTransferError),
    ],
)
def test_a_failure_on_one_side_has_its_meaning_on_the_other(ours, before, after):
    assert type(heard(ours, flowing=False)) is before
    assert type(heard(ours, flowing=True)) is after


@pytest.mark.parametrize("flowing", [False, True])
def test_a_source_that_changed_has_to_be_sent_again(flowing):
    reason = Reason("failed-application", None, SOURCE_CHANGED)
    error = failure_of(Ended(reason, by_peer=True), "bob@south.test/x", "a.txt", flowing=flowing)
    assert isinstance(error, NotResumableError)
    assert error.application == SOURCE_CHANGED
    assert "'a.txt'" in error.message


def test_a_peer_hears_nothing_of_the_files_of_this_machine():
    reason = reason_for(LocalFileError("cannot write '/home/juliet/secret/plan.txt': disk full"))
    assert "juliet" not in (reason.text or "")
    assert "plan" not in (reason.text or "")


@pytest.mark.parametrize(("flowing", "kind"), [(False, DeclinedError), (True, InterruptedTransferError)])
def test_a_peer_hears_which_kind_of_trouble_there_is(flowing, kind):
    error = heard(LocalFileError("cannot write '/home/juliet/a.txt'", told="no space left there"), flowing=flowing)
    assert type(error) is kind
    assert error.message.endswith(": no space left there")


def test_the_words_of_a_peer_are_cleaned_and_named_as_its_own():
    end = Ended(Reason("decline", "no\x1b[2J thanks"), by_peer=True)
    error = failure_of(end, "bob@south.test/x", "a.txt", flowing=False)
    assert error.message == "bob@south.test/x declined 'a.txt': no\\x1b[2J thanks"


def test_an_end_of_our_own_making_keeps_its_error():
    error = UnavailableError("no answer to the offer within 1 s")
    assert failure_of(Ended(Reason("timeout"), by_peer=False, error=error), "b", "a.txt", flowing=False) is error


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("not-acceptable", TrustError),
        ("feature-not-implemented", UnsupportedError),
        ("resource-constraint", UnavailableError),
        ("service-unavailable", UnavailableError),
        ("item-not-found", UnavailableError),
        ("no-such-condition", UnavailableError),
    ],
)
def test_an_offer_that_was_answered_with_an_error_says_why_it_failed(condition, kind):
    end = Ended(Reason("general-error"), by_peer=True, refusal=condition)
    assert type(failure_of(end, "bob@south.test/x", "a.txt", flowing=False)) is kind


def test_a_file_that_the_peer_does_not_have_cannot_be_continued():
    end = Ended(Reason("failed-application", application="file-not-available"), by_peer=True)
    assert type(failure_of(end, "bob@south.test/x", "a.txt", flowing=False)) is NotResumableError


@pytest.mark.parametrize("condition", ["gone", "cancel", "timeout", "general-error", "something new"])
@pytest.mark.parametrize(("flowing", "kind"), [(False, UnavailableError), (True, InterruptedTransferError)])
def test_every_other_reason_is_an_interruption_or_a_withdrawal(condition, flowing, kind):
    error = failure_of(Ended(Reason(condition), by_peer=True), "bob@south.test/x", "a.txt", flowing=flowing)
    assert type(error) is kind
    assert condition.replace("-", " ") in error.message
