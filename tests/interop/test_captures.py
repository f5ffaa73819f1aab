"""Captures of other clients' stanzas, each with one element removed, doubled, emptied or replaced by junk.

Whatever comes of it, jet reads it or answers with an error of its own; nothing else is raised, and nothing is accepted
that its rules forbid. What becomes of the whole session is in `test_replay`.
"""

import copy

import pytest
from captures import CAPTURES, FILES, jingles, parsed, variants
from lxml import etree

from jetcli.errors import JetError
from jetcli.protocol import model
from jetcli.protocol.offer import JudgedOffer, judge
from jetcli.protocol.session import Session
from jetcli.xmpp.jingle_reader import read

ME, PEER = "me@jet.test/jet", "peer@jet.test/other"

pytestmark = pytest.mark.skipif(not FILES, reason=f"no captures at {CAPTURES}")


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
