"""Which session a Jingle stanza belongs to, and what those are answered that belong to none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import aioxmpp
import aioxmpp.errors
import pytest

from jetcli.protocol import model
from jetcli.protocol.flood import STANZA_BURST
from jetcli.protocol.policy import MAX_SESSIONS
from jetcli.xmpp import payloads
from jetcli.xmpp.candidates import Reach
from jetcli.xmpp.jingle import JingleService, Terms
from jetcli.xmpp.jingle_reader import read
from jetcli.xmpp.jingle_writer import write
from jetcli.xmpp.negotiation import Negotiation

ME, PEER, OTHER = "me@north.test/jet.1", "bob@south.test/jet.2", "mallory@evil.test/x"
SUCCESS = model.Reason("success")


def offer(sid: str = "J-1", name: str = "a.txt", initiator: str | None = None, **changes) -> model.Initiate:
    file = model.FileDescription(name, 5)
    content = model.Content("initiator", "ft-1", "initiator", file, model.InbandTransport("ibb-1", 4096), **changes)
    return model.Initiate(sid, content, initiator)


@dataclass
class Line:
    """A service on a client in memory: what it answers, what it sends, and the offers that it hands on."""

    receives: bool = True
    offers: list[Negotiation] = field(default_factory=list)
    sent: list[model.Action] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    handler: Callable | None = None

    def __post_init__(self) -> None:
        def register(_kind, payload, handler) -> None:
            assert payload is payloads.Jingle
            self.handler = handler

        client = SimpleNamespace(
            local_jid=aioxmpp.JID.fromstr(ME),
            established_event=Always(),
            stream=SimpleNamespace(register_iq_request_handler=register),
            send=self.send,
        )
        self.service = JingleService(
            client,
            inband=SimpleNamespace(),
            terms_of=lambda _peer: Terms(Reach()),
            told=self.told.append,
            on_offer=self.offers.append,
            receives=self.receives,
        )

    async def send(self, iq: aioxmpp.IQ) -> None:
        self.sent.append(read(iq.payload))

    async def say(self, action: model.Action, sender: str = PEER) -> str | None:
        """Send an action; return None for a result, else the conditions of the error, with a slash between them."""
        iq = aioxmpp.IQ(aioxmpp.IQType.SET, from_=aioxmpp.JID.fromstr(sender), payload=write(action))
        try:
            await self.handler(iq)
        except aioxmpp.errors.XMPPError as error:
            more = error.application_defined_condition
            return error.condition.value[1] + (f"/{more.TAG[1]}" if more is not None else "")
        return None


class Always:
    async def wait(self) -> None:
        """The stream is up."""


@pytest.fixture
async def line(noise):
    made = []

    def make(**kwargs) -> Line:
        made.append(Line(**kwargs))
        return made[-1]

    yield make
    for each in made:
        await each.service.close()


async def test_an_offer_is_acknowledged_and_handed_on(line):
    here = line()
    assert await here.say(offer()) is None
    [negotiation] = here.offers
    assert (negotiation.session.peer, negotiation.session.sid) == (PEER, "J-1")


async def test_one_that_only_sends_takes_no_offer(line):
    assert await line(receives=False).say(offer()) == "service-unavailable"


@pytest.mark.parametrize(
    "action",
    [
        model.Terminate("J-1", SUCCESS),
        model.SessionInfo("J-1", model.Received()),
        model.TransportInfo("J-1", "initiator", "ft-1", "initiator", "s5b-1", model.CandidateError()),
    ],
)
async def test_a_session_is_known_only_to_the_address_that_began_it(line, action):
    here = line()
    await here.say(offer())
    for sender in (OTHER, "bob@south.test/jet.3", "bob@south.test"):
        assert await here.say(action, sender) == "item-not-found/unknown-session"
    assert not here.offers[0].ended.done()
    assert await here.say(model.Terminate("J-1", SUCCESS)) is None
    assert here.offers[0].ended.result().by_peer


async def test_the_same_session_is_not_offered_twice(line):
    here = line()
    await here.say(offer())
    assert await here.say(offer(name="b.txt")) == "conflict"
    assert await here.say(offer(), OTHER) is None
    assert len(here.offers) == 2


async def test_what_crosses_the_end_on_the_wire_is_no_error(line):
    here = line()
    await here.say(offer())
    here.offers[0].terminate("success")
    assert await here.say(model.SessionInfo("J-1", model.Received())) is None
    assert await here.say(model.Terminate("J-1", SUCCESS)) is None
    assert await here.say(offer()) == "conflict"


async def test_an_offer_in_another_ones_name_leaves_nothing_behind(line):
    here = line()
    assert await here.say(offer(initiator=OTHER)) == "bad-request"
    assert here.offers == []
    assert await here.say(model.Terminate("J-1", SUCCESS)) == "item-not-found/unknown-session"


async def test_a_step_out_of_order_is_refused_and_changes_nothing(line):
    here = line()
    await here.say(offer())
    accept = model.Accept("J-1", offer().content, PEER)
    assert await here.say(accept) == "unexpected-request/out-of-order"
    assert not here.offers[0].ended.done()


async def test_session_info_that_nobody_knows_is_refused_as_such(line):
    here = line()
    await here.say(offer())
    action = model.SessionInfo("J-1", model.Unknown("urn:example:dance"))
    assert await refused_info(here, action) == "feature-not-implemented/unsupported-info"


async def refused_info(here: Line, action: model.SessionInfo) -> str | None:
    from jetcli.errors import RemoteProtocolError
    from jetcli.xmpp.jingle import _stanza_error

    with pytest.raises(RemoteProtocolError) as refusal:
        here.service._route(PEER, action)
    error = _stanza_error(refusal.value)
    return f"{error.condition.value[1]}/{error.application_defined_condition.TAG[1]}"


async def test_a_flood_of_strange_stanzas_is_stopped_and_others_are_still_heard(line):
    here = line()
    answers = [await here.say(model.Terminate(f"J-{n}", SUCCESS)) for n in range(STANZA_BURST + 20)]
    assert answers[0] == "item-not-found/unknown-session"
    assert answers[-1] == "resource-constraint"
    assert await here.say(offer(), "bob@south.test/another") == "resource-constraint"
    assert await here.say(offer(), OTHER) is None


async def test_there_is_a_limit_to_the_sessions_at_once(line):
    here = line()
    for number in range(MAX_SESSIONS):
        assert await here.say(offer(), f"user{number}@south.test/x") is None
    assert await here.say(offer(), "late@south.test/x") == "resource-constraint"
    here.offers[0].terminate("decline")
    await asyncio.sleep(0)
    assert await here.say(offer(), "late@south.test/x") is None


async def test_negotiations_that_were_closed_before_they_offered_anything_take_no_place(line):
    here = line()
    for _ in range(MAX_SESSIONS + 1):
        negotiation = here.service.negotiate(PEER, Terms(Reach()))
        await negotiation.close()
        assert negotiation.ended.done()
    await asyncio.sleep(0)
    assert await here.say(offer()) is None
    assert [negotiation.session.sid for negotiation in here.offers] == ["J-1"]
    assert here.sent == []


@pytest.mark.parametrize(("theirs", "answer"), [("A-1", None), ("Z-9", "conflict/tie-break")])
async def test_of_two_offers_of_one_file_that_cross_the_lower_sid_stays(line, theirs, answer):
    here = line()
    ours = here.service.negotiate(PEER, Terms(Reach()), "M-5")
    ours.initiate(offer().content)
    assert await here.say(offer(theirs)) == answer
    assert await here.say(offer("Z-8", name="another.txt")) is None


async def test_an_ended_service_has_told_its_peers(line):
    here = line()
    await here.say(offer())
    await here.service.close()
    assert here.sent[-1] == model.Terminate("J-1", model.Reason("cancel"))
