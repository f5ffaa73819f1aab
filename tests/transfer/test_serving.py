"""Sessions that continue a transfer of ours: who answers one that comes while another is just ending."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.protocol.table import State
from jetcli.state.transfers import TransferState
from jetcli.transfer import serve
from jetcli.transfer.events import FileDone
from jetcli.transfer.ownership import Ownership
from jetcli.transfer.serve import Serving

DONE = FileDone("k3v9", "receive", "film.mkv", None, 10, 1.0, "chunks")
RECORD = SimpleNamespace(
    id="k3v9", direction="receive", state=TransferState.DONE, name="film.mkv", size=10, media_type=None, verified=10
)


class Negotiation:
    """A session of the sender."""

    def __init__(self):
        offer = SimpleNamespace(transfer="first", senders="initiator")
        self.session = SimpleNamespace(
            sid="a", state=State.ENDED, initiator=False, offer=offer, peer="romeo@jet.test/jet"
        )
        self.reasons = []
        self.closed = asyncio.Event()

    def terminate(self, condition, text=None, *, application=None):
        self.reasons.append(condition)

    async def close(self):
        self.terminate("cancel")
        self.closed.set()


class Work:
    """Stands in for what answers a session: each takes its leave until `leave` is set."""

    answered: asyncio.Queue
    leave: asyncio.Event

    def __init__(self, _online, _emit, _id, mailbox):
        self._mailbox = mailbox

    async def answer(self, negotiation):
        self._mailbox.current = negotiation
        Work.answered.put_nowait(negotiation)
        try:
            await Work.leave.wait()
        finally:
            await negotiation.close()
        return DONE


@pytest.fixture
def online(tmp_path, monkeypatch):
    """An account with one transfer, whose sessions are answered by `Work`."""
    monkeypatch.setattr(Work, "answered", asyncio.Queue(), raising=False)
    monkeypatch.setattr(Work, "leave", asyncio.Event(), raising=False)
    monkeypatch.setattr(serve, "Collection", Work)
    made = SimpleNamespace(
        ownership=Ownership(tmp_path, "jet receive"),
        transfers=SimpleNamespace(of_session=lambda _sid, _peer: [RECORD]),
        messages=SimpleNamespace(on_continuation=None),
        network=SimpleNamespace(retries=0),
    )
    made.answer = lambda take: setattr(made, "come", take)
    return made


async def test_a_session_that_comes_while_another_takes_its_leave_is_answered_afterwards(online):
    first, second = Negotiation(), Negotiation()
    async with asyncio.timeout(10), Serving(online, lambda _event: None):
        online.come(first)
        assert await Work.answered.get() is first
        online.come(second)
        Work.leave.set()
        assert await Work.answered.get() is second
        await second.closed.wait()
    assert online.ownership.mailbox("k3v9") is None


async def served(online) -> tuple[Negotiation, Negotiation]:
    """Let a command end while one session is answered and another waits; return the two."""
    first, second = Negotiation(), Negotiation()
    async with asyncio.timeout(10), Serving(online, lambda _event: None):
        online.come(first)
        await Work.answered.get()
        online.come(second)
    return first, second


async def test_a_session_that_nobody_has_taken_is_ended_when_the_command_stops(online):
    first, second = await served(online)
    assert first.closed.is_set()
    assert second.closed.is_set()


async def test_a_command_that_comes_to_its_end_says_that_it_is_gone(online):
    """The other side then looks for another jet, where `cancel` would be somebody's decision."""
    first, second = await served(online)
    late = Negotiation()
    online.come(late)
    assert [each.reasons[0] for each in (first, second, late)] == ["gone"] * 3


async def test_a_command_that_somebody_stops_says_so(online):
    first, serving = Negotiation(), asyncio.Event()

    async def command():
        async with Serving(online, lambda _event: None):
            serving.set()
            await asyncio.Event().wait()

    async with asyncio.timeout(10):
        going = asyncio.ensure_future(command())
        await serving.wait()
        online.come(first)
        await Work.answered.get()
        going.cancel()
        await asyncio.wait({going})
    assert first.reasons[0] == "cancel"
