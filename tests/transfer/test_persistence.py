"""When a transfer that broke is tried again, by whom, and when no more."""

import pytest

from jetcli.errors import DeclinedError, InterruptedTransferError, UnavailableError
from jetcli.transfer.events import FileDone
from jetcli.transfer.outcome import Broken
from jetcli.transfer.persistence import pause_before, persist

DONE = FileDone("k3v9", "send", "film.mkv", None, 1, 1.0, "chunks")
LOST = Broken(InterruptedTransferError("connection lost"), kept=True, transient=True, moved=True)
GONE = Broken(UnavailableError("not online"), kept=True, transient=True)
REFUSED = Broken(DeclinedError("no"), kept=True)


class Mailbox:
    """Sessions of the peer that come at the given pauses; time passes without anyone waiting."""

    def __init__(self, *sessions):
        self.sessions = list(sessions)
        self.waited = []

    def arrived(self):
        return None

    async def next(self, timeout_s):
        self.waited.append(timeout_s)
        return self.sessions.pop(0) if self.sessions else None


async def played(first, *later, sessions=(), retries=10, active=True):
    """What came of it, what was told before each pause, and what was answered."""
    outcomes, told, answered = iter(later), [], []
    mailbox = Mailbox(*sessions)

    async def outcome(of):
        return of

    async def again():
        return next(outcomes)

    async def answer(session):
        answered.append(session)
        return next(outcomes)

    result = await persist(
        outcome(first),
        mailbox=mailbox,
        answer=answer,
        again=again if active else None,
        retries=retries,
        tell=lambda attempt, pause_s, error: told.append((attempt, pause_s)),
    )
    return result, told, answered, mailbox.waited


async def test_what_is_done_is_done():
    assert await played(DONE) == (DONE, [], [], [])


async def test_a_decision_is_not_questioned():
    assert (await played(REFUSED))[:2] == (REFUSED, [])


async def test_a_break_is_tried_again_with_growing_pauses():
    result, told, _, _ = await played(LOST, GONE, GONE, DONE)
    assert result is DONE
    assert told == [(1, 0.5), (2, 1.0), (3, 2.0)]


async def test_progress_starts_the_count_anew():
    result, told, _, _ = await played(LOST, GONE, LOST, GONE, DONE, retries=2)
    assert result is DONE
    assert [attempt for attempt, _ in told] == [1, 2, 1, 2]


async def test_in_the_end_it_is_the_break_that_is_told():
    result, told, _, _ = await played(LOST, GONE, GONE, retries=2)
    assert result.error is LOST.error
    assert len(told) == 2


async def test_without_retries_a_break_is_the_end():
    assert (await played(LOST, retries=0))[:2] == (LOST, [])


async def test_a_session_of_the_peer_is_answered_instead():
    result, _, answered, _ = await played(LOST, DONE, sessions=["session"])
    assert result is DONE
    assert answered == ["session"]


async def test_who_only_waits_waits_longer_than_the_other_side_tries():
    result, told, _, waited = await played(LOST, active=False)
    assert result.error is LOST.error
    assert len(told) == 10
    assert sum(waited) > sum(pause_before(attempt) for attempt in range(1, 11)) + 100


def test_pauses_are_capped():
    assert max(pause_before(attempt) for attempt in range(1, 100)) == 30.0


@pytest.mark.parametrize("outcome", [DONE, REFUSED])
async def test_nothing_is_answered_after_the_end(outcome):
    assert (await played(LOST, outcome, sessions=["one", "two"]))[2] == ["one"]
