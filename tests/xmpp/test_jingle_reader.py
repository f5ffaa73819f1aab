"""Reading Jingle stanzas: hostile offers, the specification's examples, differences of clients, and any mutation."""

import base64
import contextlib
import io
import json
from pathlib import Path

import aioxmpp.xml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from jetcli import errors
from jetcli.errors import RemoteProtocolError
from jetcli.protocol import model
from jetcli.protocol.offer import judge
from jetcli.protocol.policy import MAX_CANDIDATES
from jetcli.xmpp import payloads
from jetcli.xmpp.jingle_reader import read

VECTORS = Path(__file__).parents[1] / "vectors"
HOSTILE = json.loads((VECTORS / "hostile-offers.json").read_text())
EXAMPLES = json.loads((VECTORS / "xep-0391-examples.json").read_text())["examples"]
CANONICAL = json.loads((VECTORS / "jingle-stanzas.json").read_text())["stanzas"]
#: An address (RFC 7622): nothing that is read is longer.
LONGEST = 3071
DIALLED_NONE = "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' sid='t'><candidate-error/></transport>"
NS_STUB = "urn:xmpp:encryption:stub:0"


def parsed(xml: str) -> payloads.Jingle:
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml.encode()), payloads.Jingle)


def action(inside: str, name: str = "session-info") -> model.Action:
    return read(parsed(f"<jingle xmlns='urn:xmpp:jingle:1' action='{name}' sid='s'>{inside}</jingle>"))


def judged(xml: str):
    offer = read(parsed(xml))
    assert isinstance(offer, model.Initiate)
    return judge(offer.content, "eve@west.example")


def damaged(vector: dict) -> str:
    return HOSTILE["offer"].replace(vector["replace"], vector["by"], 1)


def named(vectors):
    return pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["name"]) for vector in vectors])


# Vectors.


def test_the_offer_that_the_vectors_damage_is_sound():
    offer = judged(HOSTILE["offer"])
    assert (offer.file.name, offer.size, offer.promises_checksum) == ("plan.txt", 16, True)
    assert offer.cipher is model.Cipher.AES_128_GCM
    assert offer.envelope == model.Envelope(11, b"abcdefghijkl", (model.EnvelopeKey(22, b"key", True),))


@named(vector for vector in HOSTILE["vectors"] if vector["error"])
def test_an_offer_with_a_fault_is_refused(vector):
    with pytest.raises(getattr(errors, vector["error"])) as refused:
        judged(damaged(vector))
    assert getattr(refused.value, "condition", None) == vector["condition"]
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 600


@named(vector for vector in HOSTILE["vectors"] if not vector["error"])
def test_an_offer_that_is_only_unusual_is_taken(vector):
    offer = judged(damaged(vector))
    assert offer.envelope.keys[0].data == b"key"
    assert len(offer.transport.candidates) <= MAX_CANDIDATES


# The stub encryption of XEP-0391, which exists in the tests only: the secret in base64, for everyone to read.


def stub_sealed(xml: str, secret: bytes) -> str:
    return xml.replace("BASE64-ENCODED-ENCRYPTED-SECRET", base64.b64encode(secret).decode())


def stub_opened(jingle: payloads.Jingle) -> bytes:
    (element,) = jingle.contents[0].security.rest
    assert element.tag == f"{{{NS_STUB}}}encrypted"
    return base64.b64decode(element.findtext(f"{{{NS_STUB}}}payload"), validate=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["section"])
def test_the_examples_of_the_specification_parse(example):
    secret = bytes(range(44))
    jingle = parsed(stub_sealed(example["jingle"], secret))
    offer = read(jingle)
    assert isinstance(offer, model.Initiate)
    content = offer.content
    assert content.security == model.Security(content.name, "urn:xmpp:ciphers:aes-256-gcm-nopadding", NS_STUB, None)
    assert model.Cipher.named(content.security.cipher) is model.Cipher.AES_256_GCM
    assert stub_opened(jingle) == secret
    assert isinstance(content.transport, model.Socks5Transport)
    assert content.transport.candidates
    assert content.description.hashes[0].algo == "sha-1"
    assert len(content.description.hashes[0].value) == 20


def test_the_example_of_an_offer_describes_a_file():
    file = read(parsed(EXAMPLES[0]["jingle"])).content.description
    assert (file.name, file.size, file.date) == ("test.txt", 6144, "1969-07-21T02:56:15Z")
    assert file.range == model.Range()


def test_the_example_of_a_request_asks_for_a_file_by_its_hash():
    content = read(parsed(EXAMPLES[1]["jingle"])).content
    assert (content.senders, content.description.name) == ("responder", None)


def test_the_example_of_a_resumption_names_its_offset():
    assert read(parsed(EXAMPLES[2]["jingle"])).content.description.range == model.Range(270_336)


def test_no_jet_believes_the_stub_encryption():
    with pytest.raises(errors.TrustError):
        judged(EXAMPLES[0]["jingle"])


# Lengths.


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("session-initiate", "<content creator='{}' name='c'/>"),
        ("session-initiate", "<content creator='initiator' name='c' senders='{}'/>"),
        (
            "transport-info",
            "<content name='{}'>" + DIALLED_NONE + "</content>",
        ),
        ("session-info", "<received xmlns='urn:xmpp:jingle:apps:file-transfer:5' name='{}'/>"),
        ("session-info", "<checksum xmlns='urn:xmpp:jingle:apps:file-transfer:5' creator='{}'/>"),
    ],
)
def test_a_text_that_is_too_long_is_refused(name, inside):
    action(inside.format("x" * 64), name)
    with pytest.raises(RemoteProtocolError, match="of 65 characters"):
        action(inside.format("x" * 65), name)


def test_an_address_that_is_too_long_is_refused():
    with pytest.raises(RemoteProtocolError, match="initiator of 3072 characters"):
        read(parsed(HOSTILE["offer"].replace("eve@west.example/pad", "e" * 3072, 1)))


# Differences of clients.


@pytest.mark.parametrize(
    ("inside", "reason"),
    [
        ("<reason><success/></reason>", model.Reason("success")),
        ("<reason><failed_transport/></reason>", model.Reason("failed-transport")),
        ("<reason><text>why</text><decline/></reason>", model.Reason("decline", "why")),
        (
            "<reason><failed-application/><file-not-available xmlns='urn:x'/></reason>",
            model.Reason("failed-application", None, "file-not-available"),
        ),
        ("<reason/>", model.Reason("general-error")),
        ("", model.Reason("general-error")),
        (f"<reason><text>{'x' * 5000}</text></reason>", model.Reason("general-error", "x" * 1024)),
        (f"<reason><{'x' * 500}/></reason>", model.Reason("x" * 64)),
        ("<reason><!-- a comment --><cancel/></reason>", model.Reason("cancel")),
    ],
)
def test_a_reason_is_read_however_it_is_spelt(inside, reason):
    assert action(inside, "session-terminate").reason == reason


@pytest.mark.parametrize(
    ("inside", "note"),
    [
        ("", model.Ping()),
        ("<ringing xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>", model.Unknown("urn:xmpp:jingle:apps:rtp:info:1")),
        ("<received xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>", model.Received()),
        ("<checksum xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>", model.Checksum(())),
    ],
)
def test_a_session_info_is_read(inside, note):
    assert action(inside).note == note


@pytest.mark.parametrize("text", ["no base64!", "A", "", "AAAA" * 40])
def test_a_hash_that_is_none_proves_nothing(text):
    hash_ = f"<file><hash xmlns='urn:xmpp:hashes:2' algo='sha-256'>{text}</hash></file>"
    note = action(f"<checksum xmlns='urn:xmpp:jingle:apps:file-transfer:5'>{hash_}</checksum>").note
    assert note == model.Checksum((model.Hash("sha-256", None),))


@pytest.mark.parametrize(
    "transport",
    [
        "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' sid='t'/>",
        "<transport xmlns='urn:xmpp:jingle:transports:s5b:1'><candidate-error/></transport>",
        "<transport xmlns='urn:xmpp:jingle:transports:s5b:1' sid='t'><candidate-used/></transport>",
        "<transport xmlns='urn:xmpp:jingle:transports:ibb:1' sid='t'/>",
        "",
    ],
)
def test_a_transport_info_that_says_nothing_is_refused(transport):
    with pytest.raises(RemoteProtocolError):
        action(f"<content creator='initiator' name='c'>{transport}</content>", "transport-info")


def test_a_resumption_without_a_usable_proof_is_read_as_an_empty_one():
    note = action("<prefix xmlns='urn:jetcli:resume:0' length='5'>???</prefix>").note
    assert note == model.Prefix(5, b"")


# Mutations: whatever a stanza says, reading it gives a value or RemoteProtocolError, and nothing else.

_STANZAS = [HOSTILE["offer"], *(stanza["jingle"] for stanza in CANONICAL), *(example["jingle"] for example in EXAMPLES)]
_TEXTS = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "9" * 25, "٣", "x" * 5000, "initiator", "direct", "urn:xmpp:jingle:1", "\u202e", "a=="]
    ),
    st.text(st.characters(exclude_categories=["Cs"], min_codepoint=32), max_size=20),
)


def _mutate(draw, root) -> None:
    elements = list(root.iter())
    element = draw(st.sampled_from(elements))
    match draw(st.sampled_from(["attribute", "text", "remove", "double", "move", "rename", "namespace"])):
        case "attribute" if element.attrib:
            name = draw(st.sampled_from(sorted(element.attrib)))
            element.attrib[name] = draw(_TEXTS)
        case "text":
            element.text = draw(_TEXTS)
        case "remove" if element.getparent() is not None:
            element.getparent().remove(element)
        case "double" if element.getparent() is not None:
            element.addnext(etree.fromstring(etree.tostring(element)))
        case "move":
            draw(st.sampled_from(elements)).append(etree.fromstring(etree.tostring(element)))
        case "rename" if element is not root:
            namespace = etree.QName(element).namespace
            local = draw(st.sampled_from([etree.QName(other).localname for other in elements]))
            element.tag = f"{{{namespace}}}{local}"
        case "namespace" if element is not root:
            namespace = draw(st.sampled_from([etree.QName(other).namespace for other in elements] + ["urn:x"]))
            element.tag = f"{{{namespace}}}{etree.QName(element).localname}"


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)
    else:
        for name in getattr(value, "__match_args__", ()):
            yield from _texts(getattr(value, name))


@given(data=st.data())
def test_a_mutated_stanza_is_read_or_refused_and_nothing_else_happens(data):
    root = etree.fromstring(data.draw(st.sampled_from(_STANZAS)))
    for _ in range(data.draw(st.integers(1, 4))):
        try:
            _mutate(data.draw, root)
        except ValueError:
            continue  # lxml itself does not write such a text
    try:
        jingle = parsed(etree.tostring(root, encoding="unicode"))
    except ValueError:
        return  # text or an element where the declarations allow none: aioxmpp itself answers bad-request
    with contextlib.suppress(RemoteProtocolError, errors.TrustError, errors.UnsupportedError):
        offer = read(jingle)
        assert max(map(len, _texts(offer)), default=0) <= LONGEST
        if isinstance(offer, model.Initiate):
            judge(offer.content, "eve@west.example")


@pytest.mark.parametrize(("first", "size"), [("first='262144'", 262_144), ("", None)])
def test_a_bundle_may_tell_the_size_of_its_first_file(first, size):
    bundle = f"<bundle xmlns='urn:jetcli:bundle:0' files='3' {first}/>"
    offer = action(f"<content creator='initiator' name='c'>{bundle}</content>", "session-initiate")
    assert (offer.content.bundle, offer.content.first_size) == (3, size)


@pytest.mark.parametrize("first", ["262145", "-1", "x", ""])
def test_a_first_file_that_no_bundle_can_have_is_refused(first):
    bundle = f"<bundle xmlns='urn:jetcli:bundle:0' files='3' first='{first}'/>"
    with pytest.raises(RemoteProtocolError):
        action(f"<content creator='initiator' name='c'>{bundle}</content>", "session-initiate")
