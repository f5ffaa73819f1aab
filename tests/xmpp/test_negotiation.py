"""Two negotiations joined by a wire in memory, with candidates that reach each other as the test says."""

import asyncio
from dataclasses import dataclass, field

import pytest

from jetcli.errors import NetworkError, UnavailableError
from jetcli.protocol import model
from jetcli.protocol.effects import Limits
from jetcli.protocol.session import Session
from jetcli.xmpp import negotiation as module
from jetcli.xmpp.ask import StanzaError
from jetcli.xmpp.negotiation import Negotiation, OfferWithdrawn, SessionEnded

ADA, BOB = "ada@north.test/jet.1", "bob@south.test/jet.2"


class Channel:
    """Stands for the bytes."""

    closed = False

    def close(self):
        self.closed = True


@dataclass
class Reachable:
    """Candidates of which the peer's are reached, or not."""

    reached: bool = True
    works: bool = True
    refused: int = 0
    dropped: int = 0
    floor: int = 0

    async def dial(self, candidates, _dstaddr, _sid):
        return candidates[0] if self.reached else None

    async def activate(self, _sid, _candidate):
        return self.works

    async def take(self, _candidate, *, owned):
        if not self.works:
            raise ConnectionError("it broke")
        return Channel()

    def raise_floor(self, floor):
        self.floor = floor

    def drop(self):
        self.dropped += 1


@dataclass
class End:
    """One side; `offered` is set when its offer has reached the other.

    Nothing is sent while `held` is not set, and no in-band bytestream opens while `opens` is not.
    """

    jid: str
    peer: str
    candidates: Reachable = field(default_factory=Reachable)
    inband: bool = True
    limits: Limits = field(default_factory=Limits)
    kind: model.CandidateType = model.CandidateType.DIRECT
    fails: dict[type, Exception] = field(default_factory=dict)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    offered: asyncio.Event = field(default_factory=asyncio.Event)
    opens: asyncio.Event = field(default_factory=asyncio.Event)
    openings: list[str] = field(default_factory=list)
    other: "End | None" = None

    def __post_init__(self) -> None:
        self.held.set()
        self.opens.set()
        fallback = model.InbandTransport("ibb-1", 4096) if self.inband else None
        session = Session("J-1", self.jid, self.peer, inband=fallback, limits=self.limits)
        self.negotiation = Negotiation(session, self.candidates, self.deliver, self.open_inband)

    @property
    def content(self) -> model.Content:
        mine = model.Candidate(f"{self.jid[0]}1", "198.51.100.7", 4000, self.jid, 8_000_000, self.kind)
        transport = model.Socks5Transport("s5b-1", (mine,))
        return model.Content("initiator", "ft-1", "initiator", model.FileDescription("a.txt", 5), transport)

    async def deliver(self, action: model.Action) -> None:
        await self.held.wait()
        if error := self.fails.get(type(action)):
            raise error
        if self.other is not None:
            self.other.negotiation.receive(action)
        if isinstance(action, model.Initiate):
            self.offered.set()

    async def open_inband(self, _transport, _open_it):
        if error := self.fails.get(Channel):
            raise error
        self.openings.append("begun")
        try:
            await self.opens.wait()
        except asyncio.CancelledError:
            self.openings.append("cancelled")
            raise
        return Channel()


@pytest.fixture
async def ends():
    """Make both sides: `ada, bob = ends(ada={...}, bob={...})`; Bob accepts whatever comes."""
    made = []

    def make(ada=None, bob=None) -> tuple[End, End]:
        one, other = End(ADA, BOB, **(ada or {})), End(BOB, ADA, **(bob or {}))
        one.other, other.other = other, one
        made.extend((one, other))
        return one, other

    yield make
    for end in made:
        end.held.set()
        await end.negotiation.close()


async def agreed(ada: End, bob: End) -> tuple[object, object]:
    """Offer and accept; return both channels."""
    ada.negotiation.initiate(ada.content)
    async with asyncio.timeout(5):
        await ada.offered.wait()
    bob.negotiation.accept(bob.content)
    async with asyncio.timeout(5):
        return await asyncio.gather(ada.negotiation.channel, bob.negotiation.channel)


async def test_a_candidate_that_is_reached_becomes_the_channel_of_both(ends):
    ada, bob = ends()
    channels = await agreed(ada, bob)
    assert all(isinstance(channel, Channel) for channel in channels)
    assert [end.negotiation.path for end in (ada, bob)] == [model.PathKind.DIRECT] * 2
    assert [end.negotiation.relay for end in (ada, bob)] == [None, None]
    assert ada.negotiation.accepted.result() == bob.content


async def test_an_offer_that_was_withdrawn_cannot_be_accepted_any_more(ends):
    ada, bob = ends()
    ada.negotiation.initiate(ada.content)
    async with asyncio.timeout(5):
        await ada.offered.wait()
        ada.negotiation.terminate("cancel")
        await bob.negotiation.ended
    with pytest.raises(OfferWithdrawn) as caught:
        bob.negotiation.accept(bob.content)
    assert (caught.value.end.by_peer, caught.value.end.reason.condition) == (True, "cancel")


async def test_a_proxy_is_named_as_the_relay(ends):
    proxy = {"kind": model.CandidateType.PROXY}
    ada, bob = ends(ada=proxy, bob=proxy)
    await agreed(ada, bob)
    assert ada.negotiation.path is bob.negotiation.path is model.PathKind.PROXY
    assert ada.negotiation.relay == bob.negotiation.relay
    assert ada.negotiation.relay in {ADA, BOB}


@pytest.mark.parametrize("fault", ["nothing is reached", "the connection breaks", "the proxy refuses"])
async def test_where_socks5_fails_both_go_in_band(ends, fault):
    kind = model.CandidateType.PROXY if "proxy" in fault else model.CandidateType.DIRECT
    reached, works = "reached" not in fault, "reached" in fault
    ada, bob = ends(*({"candidates": Reachable(reached, works), "kind": kind} for _ in range(2)))
    await agreed(ada, bob)
    assert ada.negotiation.path is bob.negotiation.path is model.PathKind.INBAND
    assert ada.candidates.dropped
    assert bob.candidates.dropped


async def test_where_in_band_is_not_allowed_either_there_is_no_way(ends):
    ada, bob = ends(*({"inband": False, "candidates": Reachable(reached=False, refused=3)} for _ in range(2)))
    with pytest.raises(SessionEnded):
        await agreed(ada, bob)
    ends_of_both = [await end.negotiation.ended for end in (ada, bob)]
    assert [end.reason.condition for end in ends_of_both] == ["connectivity-error"] * 2
    for end in ends_of_both:
        assert isinstance(end.error, NetworkError)
        assert end.error.message.endswith("3 addresses refused by policy")


async def test_an_in_band_bytestream_that_cannot_be_opened_ends_the_session(ends):
    ada, bob = ends({"candidates": Reachable(reached=False), "fails": {Channel: ConnectionRefusedError()}})
    bob.candidates.reached = False
    with pytest.raises(SessionEnded):
        await agreed(ada, bob)
    assert (await bob.negotiation.ended).reason.condition == "connectivity-error"


async def test_an_end_wakes_everyone_who_waits(ends):
    ada, bob = ends()
    ada.negotiation.initiate(ada.content)
    await asyncio.sleep(0)
    bob.negotiation.terminate("decline", "not now")
    for waiting in (ada.negotiation.accepted, ada.negotiation.channel):
        with pytest.raises(SessionEnded) as told:
            await waiting
        assert (told.value.end.by_peer, told.value.end.reason.text) == (True, "not now")


async def test_an_offer_that_is_answered_with_an_error_ends_with_its_condition(ends):
    refusal = StanzaError(BOB, "service-unavailable", None, None)
    ada, _ = ends({"fails": {model.Initiate: refusal}})
    ada.negotiation.initiate(ada.content)
    assert (await ada.negotiation.ended).refusal == "service-unavailable"


@pytest.mark.parametrize("error", [UnavailableError("no answer"), NetworkError("connection lost")])
async def test_an_offer_that_got_no_answer_ends_with_that_error(ends, error):
    ada, _ = ends({"fails": {model.Initiate: error}})
    ada.negotiation.initiate(ada.content)
    assert (await ada.negotiation.ended).error is error


async def test_an_offer_that_nobody_accepts_ends_at_its_deadline(ends):
    ada, bob = ends({"limits": Limits(acceptance_s=0.01)})
    ada.negotiation.initiate(ada.content)
    end = await ada.negotiation.ended
    assert isinstance(end.error, UnavailableError)
    assert (await bob.negotiation.ended).reason.condition == "timeout"


async def test_checksum_and_confirmation_reach_who_waits_for_them(ends):
    ada, bob = ends()
    await agreed(ada, bob)
    checksum = model.Checksum((model.Hash("sha-256", b"x" * 32),))
    ada.negotiation.inform(checksum)
    bob.negotiation.inform(model.Received())
    assert await bob.negotiation.checksum == checksum
    await ada.negotiation.received


async def test_closing_tells_the_peer_and_lets_go_of_everything(ends):
    ada, bob = ends()
    await agreed(ada, bob)
    await ada.negotiation.close()
    assert (await bob.negotiation.ended).reason.condition == "cancel"
    assert ada.candidates.dropped


async def test_closing_waits_no_longer_than_a_moment_for_a_peer_that_is_gone(ends, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_S", 0.01)
    ada, bob = ends()
    await agreed(ada, bob)
    ada.held.clear()
    async with asyncio.timeout(5):
        await ada.negotiation.close()


async def test_closing_waits_until_a_success_has_been_told(ends, monkeypatch):
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    ada, bob = ends()
    await agreed(ada, bob)
    bob.held.clear()
    bob.negotiation.terminate("success")
    closing = asyncio.create_task(bob.negotiation.close())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not closing.done()
    bob.held.set()
    await closing
    assert (await ada.negotiation.ended).reason.condition == "success"


async def test_a_close_that_is_cancelled_still_lets_go_of_everything(ends):
    ada, bob = ends()
    await agreed(ada, bob)
    bob.held.clear()
    bob.negotiation.terminate("success")
    dropped = bob.candidates.dropped
    closing = asyncio.create_task(bob.negotiation.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert bob.candidates.dropped > dropped


async def test_an_end_stops_what_is_still_being_opened(ends, eventually):
    ada, bob = ends(*({"candidates": Reachable(reached=False)} for _ in range(2)))
    bob.opens.clear()
    offering = asyncio.create_task(agreed(ada, bob))
    await eventually(lambda: bob.openings)
    bob.negotiation.receive(model.Terminate("J-1", model.Reason("cancel")))
    await eventually(lambda: bob.openings[-1] == "cancelled")
    with pytest.raises(SessionEnded):
        await offering


async def test_a_channel_that_comes_after_nobody_waits_for_it_is_closed(ends, eventually):
    made = []

    async def take(_candidate, *, owned):
        made.append(Channel())
        return made[-1]

    ada, bob = ends()
    bob.candidates.take = take
    bob.negotiation.channel.cancel()
    ada.negotiation.initiate(ada.content)
    await ada.offered.wait()
    bob.negotiation.accept(bob.content)
    await eventually(lambda: made and made[0].closed)


async def test_closing_closes_a_channel_that_was_never_taken(ends):
    ada, bob = ends()
    channels = await agreed(ada, bob)
    assert await ada.negotiation.take_channel() is channels[0]
    for end in (ada, bob):
        await end.negotiation.close()
    assert [channel.closed for channel in channels] == [False, True]


async def test_a_transport_that_is_replaced_before_its_channel_was_taken_leaves_the_one_of_the_other(ends):
    inband = model.InbandTransport("ibb-2", 4096)
    replace = model.TransportReplace("J-1", model.Content("initiator", "ft-1", transport=inband))
    ada, bob = ends()
    replaced = bob.negotiation.channel
    replaced.add_done_callback(lambda _: bob.negotiation.receive(replace))
    taking = asyncio.create_task(bob.negotiation.take_channel())
    await asyncio.gather(agreed(ada, bob), taking)
    assert (replaced.result().closed, taking.result().closed) == (True, False)
    assert bob.negotiation.path is model.PathKind.INBAND
