"""Captures of other clients' stanzas, and what each becomes with one element changed."""

import base64
import copy
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aioxmpp.xml
from lxml import etree

from jetcli.protocol import model
from jetcli.xmpp import payloads

CAPTURES = Path(os.environ.get("PEERS") or Path(__file__).parents[3] / "shared" / "peers").parent / "captures"
FILES = sorted(CAPTURES.glob("*.xml"))
JUNK = "\N{SNOWMAN}\u202e-1'\"<&" + "A" * 5000
CHANGES = ("removed", "doubled", "emptied", "junk", "junk text", "junk attributes", "a little else")

_JINGLE = f"{{{model.NS_JINGLE}}}jingle"
_SIZE = f"{{{model.NS_FILE_TRANSFER}}}size"
_BASE64 = re.compile("[A-Za-z0-9+/]+=*")
_HASH = f"{{{model.NS_HASHES}}}hash"


@dataclass(frozen=True)
class Recorded:
    """One session of a capture: the Jingle elements that each side sent, in their order."""

    initiator: str
    responder: str
    by_initiator: list[etree._Element]
    by_responder: list[etree._Element]


def jingles(path: Path) -> list[etree._Element]:
    """Return every Jingle element of a capture, in its order."""
    return list(etree.parse(path).iter(_JINGLE))


def sessions(path: Path, content: bytes) -> list[Recorded]:
    """Return the sessions of a capture, as if they had carried `content`."""
    found: dict[str, Recorded] = {}
    for jingle in jingles(path):
        stanza = jingle.getparent()
        sender, receiver = str(stanza.getparent().get("session")), str(stanza.get("to"))
        sid = str(jingle.get("sid"))
        if jingle.get("action") == "session-initiate" and sid not in found:
            found[sid] = Recorded(sender, receiver, [], [])
        if sid in found:
            side = found[sid].by_initiator if sender == found[sid].initiator else found[sid].by_responder
            side.append(_carrying(jingle, content))
    return list(found.values())


def _carrying(jingle: etree._Element, content: bytes) -> etree._Element:
    fresh = copy.deepcopy(jingle)
    fresh.tail = None
    for size in fresh.iter(_SIZE):
        size.text = str(len(content))
    for element in fresh.iter(_HASH):
        if element.get("algo") == "sha-256":
            element.text = base64.b64encode(hashlib.sha256(content).hexdigest().encode()).decode()
    return fresh


def variants(whole: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """Yield every variant of an element with one of its descendants changed."""
    for number, element in enumerate(whole.iter()):
        for change in CHANGES:
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
        case "a little else" if _nearly(victim.text) != victim.text:
            victim.text = _nearly(victim.text)
        case "a little else" if any(_nearly(value) != value for value in victim.attrib.values()):
            for name, value in victim.attrib.items():
                victim.set(name, _nearly(value))
        case _:
            return False
    return True


def _nearly(text: str | None) -> str | None:
    """Return another number for a number, and other bytes for base64; anything else as it is."""
    if text and text.isdecimal():
        return str(int(text) + 1)
    if text and len(text) >= 16 and _BASE64.fullmatch(text):
        return ("B" if text[0] != "B" else "C") + text[1:]
    return text


def parsed(element: etree._Element) -> payloads.Jingle | None:
    """Return what aioxmpp makes of it; None where it refuses the stanza, which it answers as a bad request."""
    try:
        return aioxmpp.xml.read_single_xso(io.BytesIO(etree.tostring(element)), payloads.Jingle)
    except (ValueError, TypeError):
        return None
