"""Writing Jingle stanzas: what is written reads back as it was, and stanzas of the known shape are written alike."""

import io
import json
from pathlib import Path

import aioxmpp.xml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import replace

from jetcli.protocol import model
from jetcli.protocol.bundle import MAX_MEMBER_SIZE
from jetcli.protocol.policy import MAX_CANDIDATES, MAX_DESC, MAX_HASH, MAX_NAME, MAX_SID, MAX_SIZE
from jetcli.xmpp import payloads
from jetcli.xmpp.jingle_reader import read
from jetcli.xmpp.jingle_writer import write

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "jingle-stanzas.json").read_text())["stanzas"]


def parsed(xml: bytes) -> payloads.Jingle:
    return aioxmpp.xml.read_single_xso(io.BytesIO(xml), payloads.Jingle)


def written(action: model.Action) -> bytes:
    return aioxmpp.xml.serialize_single_xso(write(action)).encode()


def canonical(xml: bytes | str) -> str:
    return etree.canonicalize(xml.decode() if isinstance(xml, bytes) else xml, strip_text=True)


@pytest.mark.parametrize("stanza", VECTORS, ids=lambda stanza: stanza["name"])
def test_what_was_read_is_written_again_as_it_was(stanza):
    action = read(parsed(stanza["jingle"].encode()))
    assert canonical(written(action)) == canonical(stanza["jingle"])


# What XML can carry, without white space at the ends, which the reader of an attribute may lose.
_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")


def texts(most: int, *, least: int = 1):
    return st.text(_CHARACTERS, min_size=least, max_size=min(most, 12)) | st.just("x" * most)


def optional(strategy):
    return st.none() | strategy


SIDS = texts(MAX_SID)
CREATORS = st.sampled_from(["initiator", "responder"])
NUMBERS = st.integers(0, MAX_SIZE)
HASHES = st.lists(
    st.builds(model.Hash, texts(MAX_SID), optional(st.binary(min_size=1, max_size=64))), max_size=MAX_CANDIDATES
).map(tuple)
FILES = st.builds(
    model.FileDescription,
    name=optional(texts(MAX_NAME)),
    size=optional(NUMBERS),
    media_type=optional(texts(MAX_HASH)),
    date=optional(texts(MAX_SID)),
    desc=optional(texts(MAX_DESC, least=0)),
    range=optional(st.builds(model.Range, NUMBERS, optional(NUMBERS))),
    hash_used=optional(texts(MAX_SID)),
    hashes=HASHES,
)
CANDIDATES = st.builds(
    model.Candidate,
    cid=SIDS,
    host=texts(255),
    port=st.integers(0, 65535),
    jid=texts(3071, least=0),
    priority=st.integers(0, 2**31 - 1),
    type=st.sampled_from(model.CandidateType),
)
SOCKS5 = st.builds(
    model.Socks5Transport, SIDS, st.lists(CANDIDATES, max_size=MAX_CANDIDATES).map(tuple), optional(texts(MAX_SID))
)
TRANSPORTS = SOCKS5 | st.builds(model.InbandTransport, SIDS, st.integers(1, 65535))
DEVICES = st.integers(1, 2**31 - 1)
ENVELOPES = st.builds(
    model.Envelope,
    sender=DEVICES,
    iv=st.binary(min_size=12, max_size=12),
    keys=st.lists(
        st.builds(model.EnvelopeKey, DEVICES, st.binary(min_size=1, max_size=64), st.booleans()), max_size=4
    ).map(tuple),
    payload=optional(st.binary(min_size=1, max_size=64)),
)
SECURITIES = st.builds(
    model.Security, optional(SIDS), optional(texts(MAX_DESC)), optional(texts(MAX_DESC)), optional(ENVELOPES)
)
BUNDLES = st.tuples(st.integers(0, 1_000_000), optional(st.integers(0, MAX_MEMBER_SIZE)))
CONTENTS = st.builds(
    lambda bundle, **fields: model.Content(**fields, bundle=bundle[0], first_size=bundle[1]),
    creator=CREATORS,
    name=SIDS,
    senders=optional(st.sampled_from(["initiator", "responder", "both", "none"])),
    description=optional(FILES),
    transport=optional(TRANSPORTS),
    security=optional(SECURITIES),
    transfer=optional(SIDS),
    prove=st.booleans(),
    batch=optional(st.integers(1, 1_000_000).map(lambda of: model.Batch("b", (of + 1) // 2, of))),
    bundle=st.one_of(st.just((None, None)), BUNDLES),
)
NOTES = st.one_of(
    st.builds(model.CandidateUsed, SIDS),
    st.builds(model.CandidateError),
    st.builds(model.Activated, SIDS),
    st.builds(model.ProxyError),
)
CONDITIONS = st.sampled_from(["success", "decline", "cancel", "failed-application", "security-error"])
REFUSED = st.lists(
    st.tuples(st.integers(1, 1_000_000), st.builds(model.Reason, CONDITIONS, optional(texts(MAX_DESC)))), max_size=4
).map(tuple)
ACTIONS = st.one_of(
    st.builds(model.Initiate, SIDS, CONTENTS, optional(texts(3071))),
    st.builds(model.Accept, SIDS, CONTENTS, optional(texts(3071))),
    st.builds(model.TransportInfo, SIDS, CREATORS, SIDS, optional(CREATORS), SIDS, NOTES),
    st.builds(model.TransportReplace, SIDS, CONTENTS),
    st.builds(model.TransportAccept, SIDS, CONTENTS),
    st.builds(model.TransportReject, SIDS, CONTENTS),
    st.builds(
        model.SessionInfo,
        SIDS,
        st.builds(model.Checksum, HASHES) | st.builds(model.Received),
        optional(CREATORS),
        optional(SIDS),
    ),
    st.builds(model.SessionInfo, SIDS, st.builds(model.Ping)),
    st.builds(model.SessionInfo, SIDS, st.builds(model.Prefix, NUMBERS, st.binary(min_size=1, max_size=64))),
    st.builds(model.SessionInfo, SIDS, st.builds(model.MembersEnded, st.integers(0, 1_000_000), REFUSED)),
    st.builds(
        model.Terminate,
        SIDS,
        st.builds(
            model.Reason,
            CONDITIONS,
            optional(texts(MAX_DESC)),
            optional(st.sampled_from(["file-not-available", "unknown-transfer", "source-changed", "singly"])),
        ),
    ),
)


@given(ACTIONS)
def test_whatever_is_written_reads_back_as_it_was(action):
    assert read(parsed(written(action))) == action


@given(ACTIONS)
def test_writing_is_the_same_every_time(action):
    once = written(action)
    assert written(read(parsed(once))) == once


def test_what_a_client_may_not_know_is_never_sent():
    content = model.Content("initiator", "c", transport=model.UnknownTransport("urn:x"))
    with pytest.raises(ValueError, match="never sent"):
        write(model.TransportReplace("s", content))
    with pytest.raises(ValueError, match="never sent"):
        write(model.SessionInfo("s", model.Unknown("urn:x")))


def test_only_an_offer_names_the_mode_of_its_transport():
    content = model.Content("initiator", "c", transport=model.Socks5Transport("t"))
    assert b'mode="tcp"' in written(model.Initiate("s", content))
    assert b"mode" not in written(model.Accept("s", content))


def test_an_envelope_shows_its_key_to_no_repr():
    security = model.Security("c", "x", "y", model.Envelope(1, b"i" * 12, (model.EnvelopeKey(2, b"secret key"),)))
    action = model.Initiate("s", replace(model.Content("initiator", "c"), security=security))
    assert "secret key" not in repr(action)
