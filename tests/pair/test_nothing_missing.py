"""A sender that finds the receiver with the whole file: both sides negotiate for real, and no byte is sent."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.errors import InterruptedTransferError
from jetcli.protocol.effects import Limits
from jetcli.protocol.model import Cipher, Content, FileDescription, InbandTransport, Range, TransportSecret
from jetcli.protocol.session import Session
from jetcli.transfer.events import FileDone
from jetcli.transfer.outcome import Broken
from jetcli.transfer.outgoing import Begun, Outbound, Outgoing
from jetcli.transfer.ownership import Mailbox
from jetcli.xmpp.negotiation import Negotiation

ADA, BOB = "ada@north.example/jet.1", "bob@south.example/jet.2"
OFFER = Content("initiator", "ft-1", "initiator", FileDescription("film.mkv", 9), InbandTransport("ibb-1", 4096))
WHOLE = SimpleNamespace(name="film.mkv", size=9, resumable=True)
EMPTY = SimpleNamespace(name="film.mkv", size=0, resumable=True)


class Sender:
    """Ada continues a transfer with Bob, who accepts, has a path open, and holds every byte."""

    def __init__(self, confirmation_s, source, opened):
        limits = Limits(confirmation_s=confirmation_s)
        self.offered = asyncio.Event()
        self.ada = self._negotiation(ADA, BOB, limits, lambda: self.bob)
        self.bob = self._negotiation(BOB, ADA, Limits(), lambda: self.ada)
        self._source, self._opened = source, opened
        out = Outbound(id="k3v9", source=source, cipher=Cipher.CHUNKED, continued=True)
        self._outgoing = Outgoing(None, lambda _event: None, BOB, out, Mailbox())

    def _negotiation(self, jid, peer, limits, other):
        async def deliver(action):
            other().receive(action)
            self.offered.set()

        async def open_inband(_transport, _open_it):
            if not self._opened:
                await asyncio.Event().wait()
            return SimpleNamespace(close=lambda: None)

        candidates = SimpleNamespace(drop=lambda: None, refused=0)
        return Negotiation(Session("J-1", jid, peer, limits=limits), candidates, deliver, open_inband)

    async def run(self):
        async def begin():
            self.ada.initiate(OFFER)
            await self.offered.wait()
            self.bob.accept(OFFER)
            await self.ada.accepted
            if self._opened:
                await self.ada.channel
            else:
                self.bob.terminate("success")
            return Begun(self.ada, OFFER, TransportSecret(bytes(32), bytes(12)), Range(self._source.size))

        async with asyncio.timeout(10):
            return await self._outgoing.run(begin)


@pytest.fixture
async def sender():
    """Make a sender: `sender(confirmation_s=60.0)`."""
    made = []

    def make(confirmation_s, source=WHOLE, *, opened=True):
        made.append(Sender(confirmation_s, source, opened))
        return made[0]

    yield make
    for each in (made[0].ada, made[0].bob):
        await each.close()


async def test_a_receiver_that_ends_the_session_has_it_all(sender):
    going = sender(60.0)
    going.ada.channel.add_done_callback(lambda _: going.bob.terminate("success"))
    assert isinstance(await going.run(), FileDone)


async def test_a_receiver_that_says_nothing_is_not_waited_for_for_ever(sender):
    outcome = await sender(0.01).run()
    assert isinstance(outcome, Broken)
    assert isinstance(outcome.error, InterruptedTransferError)
    assert "did not confirm" in outcome.error.message
    assert outcome.kept
    assert outcome.transient


async def test_a_receiver_that_has_an_empty_file_says_so_by_ending_the_session(sender):
    assert isinstance(await sender(60.0, EMPTY, opened=False).run(), FileDone)
