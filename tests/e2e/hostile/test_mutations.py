"""A sound offer with one element changed, against a real process: an answer comes in time, and nothing is saved."""

import asyncio
import copy
import io

import aioxmpp.xml
import pytest
from lxml import etree

from jetcli.protocol import model
from jetcli.xmpp import payloads
from jetcli.xmpp.ask import StanzaError

pytestmark = pytest.mark.matrix

ANSWER_S = 15.0
CHANGES = ("removed", "doubled", "emptied", "junk")


def changed(whole: etree._Element, number: int, change: str) -> etree._Element:
    """Return the element with its `number`-th descendant changed."""
    fresh = copy.deepcopy(whole)
    victim = list(fresh.iter())[number]
    match change:
        case "removed":
            victim.getparent().remove(victim)
        case "doubled":
            victim.getparent().append(copy.deepcopy(victim))
        case "emptied":
            victim.clear()
        case "junk":
            victim.getparent().replace(victim, etree.Element("{urn:example:junk}junk", a="-1"))
    return fresh


def as_xml(jingle: payloads.Jingle) -> etree._Element:
    return etree.fromstring(aioxmpp.xml.serialize_single_xso(jingle))


def as_jingle(element: etree._Element) -> payloads.Jingle | None:
    try:
        return aioxmpp.xml.read_single_xso(io.BytesIO(etree.tostring(element)), payloads.Jingle)
    except ValueError:
        return None


@pytest.mark.parametrize("change", CHANGES)
async def test_every_element_of_an_offer_may_be_wrong(receive, peer, change):
    victim = await receive("--forever")
    count = len(list(as_xml((await peer.prepare(victim.jid)).jingle).iter()))
    answered = 0
    for number in range(1, count):
        offer = await peer.prepare(victim.jid)
        jingle = as_jingle(changed(as_xml(offer.jingle), number, change))
        if jingle is None:
            continue
        try:
            await peer.say(victim.jid, jingle)
        except StanzaError:
            answered += 1
            continue
        assert await told(peer, offer.sid), (number, change)
        answered += 1
        # What was accepted in spite of the change ends here, before a byte.
        await peer.say(victim.jid, terminated(offer.sid))
    assert answered > 10
    victim.unharmed()
    assert victim.process.code is None


def terminated(sid: str) -> payloads.Jingle:
    from jetcli.xmpp.jingle_writer import write

    return write(model.Terminate(sid, model.Reason("cancel")))


async def told(peer, sid: str) -> bool:
    """Wait until the session is accepted or ended."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            action = await peer.heard.get()
            if action.sid == sid and isinstance(action, model.Accept | model.Terminate):
                return True
