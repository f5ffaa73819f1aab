"""Captures of other clients' stanzas, each with one element removed, doubled, emptied or replaced by junk.

Whatever comes of it, jet reads it or answers with an error of its own; nothing else is raised, and nothing is accepted
that its rules forbid.
"""

import copy
import io
import os
from collections.abc import Iterator
from pathlib import Path

import aioxmpp.xml
import pytest
from lxml import etree

from jetcli.errors import JetError
from jetcli.protocol import model
from jetcli.protocol.offer import JudgedOffer, judge
from jetcli.protocol.session import Session
from jetcli.xmpp import payloads
from jetcli.xmpp.jingle_reader import read

CAPTURES = Path(os.environ.get("PEERS") or Path(__file__).parents[3] / "shared" / "peers").parent / "captures"
JINGLE = f"{{{model.NS_JINGLE}}}jingle"
ME, PEER = "me@jet.test/jet", "peer@jet.test/other"
FILES = sorted(CAPTURES.glob("*.xml"))
JUNK = "\N{SNOWMAN}\u202e-1'\"<&" + "A" * 5000

pytestmark = pytest.mark.skipif(not FILES, reason=f"no captures at {CAPTURES}")


def jingles(path: Path) -> list[etree._Element]:
    """Return every Jingle element of a capture, in its order."""
    return list(etree.parse(path).iter(JINGLE))


def variants(whole: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """Yield every variant of an element with one of its descendants changed."""
    for number, element in enumerate(whole.iter()):
        for change in ("removed", "doubled", "emptied", "junk", "junk text", "junk attributes"):
            fresh = copy.deepcopy(whole)
            victim = list(fresh.iter())[number]
            if _changed(victim, change):
                yield f"{etree.QName(element).localname} {change}", fresh


def _changed(victim: etree._Element, change: str) -> bool:
    parent = victim.getparent()
    match change:
        case "removed" if parent is not None:
            parent.remove(victim)
        case "doubled" if parent is not None:
            parent.append(copy.deepcopy(victim))
        case "emptied":
            victim.clear()
        case "junk" if parent is not None:
            parent.replace(victim, etree.Element("{urn:example:junk}junk", a=JUNK))
        case "junk text":
            victim.text = JUNK
        case "junk attributes" if victim.attrib:
            for name in victim.attrib:
                victim.set(name, JUNK)
        case _:
            return False
    return True


def parsed(element: etree._Element) -> payloads.Jingle | None:
    """Return what aioxmpp makes of it; None where it refuses the stanza, which it answers as a bad request."""
    try:
        return aioxmpp.xml.read_single_xso(io.BytesIO(etree.tostring(element)), payloads.Jingle)
    except (ValueError, TypeError):
        return None


def taken(element: etree._Element) -> str:
    """Put an element through everything that reads it before anyone is asked; say what came of it."""
    jingle = parsed(element)
    if jingle is None:
        return "refused by the parser"
    try:
        action = read(jingle)
        if isinstance(action, model.Initiate):
            Session(action.sid, ME, PEER).receive(action)
            offer = judge(action.content, "peer@jet.test")
            check(offer)
            return "judged"
        Session(action.sid, ME, PEER).receive(action)
    except JetError:
        return "refused"
    return "read"


def check(offer: JudgedOffer) -> None:
    """What was let through can be used: it is encrypted, has a size, and an IV of the right kind."""
    assert offer.content.security is not None
    assert offer.envelope.iv
    assert offer.size is not None
    assert offer.size >= 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variant_of_a_capture_is_read_or_refused(path):
    came = [taken(variant) for whole in jingles(path) for _, variant in variants(whole)]
    if any(whole.get("action") == "session-initiate" for whole in jingles(path)):
        assert "refused" in came


def test_there_are_thousands_of_variants():
    assert sum(1 for path in FILES for whole in jingles(path) for _ in variants(whole)) > 2000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_variant_without_its_encryption_is_let_through(path):
    for whole in jingles(path):
        for security in whole.iter(f"{{{model.NS_JET}}}security"):
            for number, _ in enumerate(security.iter()):
                fresh = copy.deepcopy(whole)
                victim = list(next(fresh.iter(f"{{{model.NS_JET}}}security")).iter())[number]
                victim.getparent().remove(victim)
                if etree.QName(victim).localname in {"security", "encrypted", "header", "iv"}:
                    assert taken(fresh) in {"refused", "refused by the parser"}
