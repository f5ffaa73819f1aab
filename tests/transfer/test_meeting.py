"""When a side takes its step, whom it waits for, and what it does when the other side comes first."""

import asyncio
import math
from types import SimpleNamespace

import pytest

from jetcli.errors import (
    DeclinedError,
    InterruptedTransferError,
    NobodyResumesError,
    NotResumableError,
    UnavailableError,
)
from jetcli.protocol.model import SOURCE_CHANGED, UNKNOWN_TRANSFER
from jetcli.protocol.table import State
from jetcli.transfer.events import FileDone
from jetcli.transfer.meeting import Meeting, Turns, is_nobody
from jetcli.transfer.outcome import Broken
from jetcli.transfer.ownership import Mailbox

DONE = FileDone("k3v9", "send", "film.mkv", None, 10, 1.0, "chunks")
NOBODY = Broken(UnavailableError("juliet@jet.test is not online"))


class Discovery:
    """Who is online; `come` lets somebody come."""

    def __init__(self):
        self.online = []
        self._came = asyncio.Event()

    def resources(self, _bare):
        return [SimpleNamespace(jid=jid) for jid in self.online]

    def come(self, jid):
        self.online.append(jid)
        self._came.set()

    async def wait_for_presence(self, _bare, timeout_s, *, but):
        try:
            async with asyncio.timeout(timeout_s):
                while all(but(jid) for jid in self.online):
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            return False
        return True


class Session:
    """A session of the other side, as the mailbox sees it."""

    session = SimpleNamespace(sid="a", state=State.PENDING, initiator=False)


@pytest.fixture
def meet():
    """Make a meeting whose steps have these outcomes: `meeting, told = meet(NOBODY, DONE, wait_s=1.0)`."""

    def make(*outcomes, wait_s=math.inf, turns=None):
        left, told = list(outcomes), []

        async def step():
            made.stepped.put_nowait(len(left))
            return left.pop(0)

        async def answer(_negotiation):
            return DONE

        made = SimpleNamespace(discovery=Discovery(), mailbox=Mailbox(), told=told, left=left, stepped=asyncio.Queue())
        online = SimpleNamespace(discovery=made.discovery)
        made.turns = turns or Turns(wait_s)
        made.meeting = Meeting(online, "juliet@jet.test", made.mailbox, made.turns, step=step, answer=answer)
        return made

    return make


def tell_to(made):
    return lambda error, wait_s: made.told.append((error.message, wait_s))


async def test_whoever_is_there_is_met_at_once(meet):
    made = meet(DONE)
    assert await made.meeting.first(tell_to(made)) is DONE
    assert made.told == []


async def test_whoever_comes_later_is_looked_for_again_and_the_wait_is_told_once(meet):
    made = meet(NOBODY, NOBODY, DONE)
    made.discovery.online = ["juliet@jet.test/ghost"]
    going = asyncio.ensure_future(made.meeting.first(tell_to(made)))
    await made.stepped.get()
    made.discovery.come("juliet@jet.test/one")
    await made.stepped.get()
    made.discovery.come("juliet@jet.test/two")
    assert await going is DONE
    assert made.told == [("juliet@jet.test is not online", math.inf)]


async def test_the_session_of_the_other_side_is_as_good_as_ours(meet):
    made = meet(NOBODY)
    going = asyncio.ensure_future(made.meeting.first(tell_to(made)))
    await made.stepped.get()
    made.mailbox.deliver(Session())
    assert await going is DONE


async def test_nobody_is_waited_for_when_the_time_is_over(meet):
    made = meet(NOBODY, wait_s=0.0)
    assert await made.meeting.first(tell_to(made)) is NOBODY
    assert made.told == []


async def test_the_time_can_be_over_while_somebody_is_waited_for(meet):
    made = meet(NOBODY, wait_s=0.01)
    assert await made.meeting.first(tell_to(made)) is NOBODY
    assert len(made.told) == 1


async def test_steps_of_several_transfers_come_one_after_the_other_but_answers_at_once(meet):
    turns = Turns(math.inf)
    first, second = meet(DONE, turns=turns), meet(DONE, turns=turns)
    await turns.one.acquire()
    going = [asyncio.ensure_future(each.meeting.next()) for each in (first, second)]
    second.mailbox.deliver(Session())
    assert await going[1] is DONE
    assert len(second.left) == 1, "its own step was not taken"
    assert not going[0].done()
    turns.one.release()
    assert await going[0] is DONE
    assert not turns.one.locked()


@pytest.mark.parametrize(
    ("error", "nobody"),
    [
        (UnavailableError("not online"), True),
        (NobodyResumesError("cannot continue it with Dino"), True),
        (NotResumableError("knows nothing of it", application=UNKNOWN_TRANSFER), True),
        (NotResumableError("has changed", application=SOURCE_CHANGED), False),
        (InterruptedTransferError("connection lost"), False),
        (DeclinedError("declined"), False),
    ],
)
def test_only_who_is_not_there_is_waited_for(error, nobody):
    assert is_nobody(error) is nobody
