"""Offers: what jet writes, what it takes, what it refuses, and whose offer gives way."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jetcli.errors import RemoteProtocolError, TrustError, UnsupportedError
from jetcli.protocol.model import (
    NS_OMEMO,
    Candidate,
    Cipher,
    Content,
    Envelope,
    EnvelopeKey,
    FileDescription,
    InbandTransport,
    Initiate,
    Range,
    Socks5Transport,
    UnknownTransport,
)
from jetcli.protocol.offer import acceptance, check_acceptance, cipher_for, file_offer, judge, yields
from jetcli.protocol.policy import MAX_SIZE
from jetcli.protocol.quirks import RECEIVING, abilities

EVE = "eve@west.example"
FILE = FileDescription(name="plan.txt", size=16, media_type="text/plain", range=Range(), hash_used="sha-256")
TRANSPORT = Socks5Transport("ts", (Candidate("k", "192.0.2.7", 4711, f"{EVE}/pad", 1),))
ENVELOPE = Envelope(11, b"abcdefghijkl", (EnvelopeKey(22, b"key"),))
OFFER = file_offer("c1", FILE, TRANSPORT, Cipher.AES_128_GCM, ENVELOPE)


def offer(**changes) -> Content:
    return replace(OFFER, **changes)


def secured(**changes) -> Content:
    return offer(security=replace(OFFER.security, **changes))


def described(**changes) -> Content:
    return offer(description=replace(FILE, **changes))


def test_between_jets_the_chunked_cipher_is_offered_and_to_all_others_the_plain_one():
    assert cipher_for(abilities(set(RECEIVING), "jet")) is Cipher.CHUNKED
    assert cipher_for(abilities({"urn:xmpp:jingle:1"}, "Dino")) is Cipher.AES_128_GCM


def test_an_offer_is_written_as_every_known_client_wants_it():
    security = OFFER.security
    assert security.name == OFFER.name
    assert security.cipher == "urn:xmpp:ciphers:aes-128-gcm-nopadding"
    assert (OFFER.creator, OFFER.senders, security.type) == ("initiator", "initiator", NS_OMEMO)


def test_a_sound_offer_is_taken_apart():
    judged = judge(OFFER, EVE)
    assert (judged.file, judged.cipher, judged.envelope) == (FILE, Cipher.AES_128_GCM, ENVELOPE)
    assert (judged.transport, judged.size, judged.promises_checksum) == (TRANSPORT, 16, True)


@pytest.mark.parametrize("cipher", list(Cipher))
@pytest.mark.parametrize("suffix", ["", ":0"])
def test_every_cipher_is_known_in_both_spellings(cipher, suffix):
    assert judge(secured(cipher=cipher.value + suffix), EVE).cipher is cipher


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (offer(security=None), "eve@west.example offered 'plan.txt' without encryption; refused"),
        (secured(cipher="urn:xmpp:ciphers:aes-128-cbc"), "offered 'plan.txt' under an unsupported cipher; refused"),
        (secured(cipher=None), "under an unsupported cipher"),
        (secured(type="urn:xmpp:omemo:2"), "in an envelope that jet cannot open"),
        (secured(type=None), "in an envelope that jet cannot open"),
        (secured(envelope=None), "in an envelope that jet cannot open"),
        (secured(name="c2"), "with the encryption of another content"),
    ],
)
def test_an_offer_without_usable_encryption_is_refused(content, line):
    with pytest.raises(TrustError, match=line):
        judge(content, EVE)


@pytest.mark.parametrize(
    "content",
    [offer(description=None), offer(senders="responder"), offer(senders="none"), offer(senders="everybody")],
)
def test_what_offers_no_file_is_refused(content):
    with pytest.raises(RemoteProtocolError, match="no file") as refused:
        judge(content, EVE)
    assert refused.value.condition == "unsupported-applications"


@pytest.mark.parametrize(
    "content",
    [described(size=None), described(bad_number="1e9"), described(size=-1), described(size=MAX_SIZE + 1)],
)
def test_an_offer_without_a_size_is_refused(content):
    with pytest.raises(RemoteProtocolError, match="the offer has no valid size") as refused:
        judge(content, EVE)
    assert refused.value.condition == "failed-application"


def test_only_under_the_chunked_cipher_the_size_may_be_unknown():
    content = described(size=None)
    assert judge(replace(content, security=secured(cipher=Cipher.CHUNKED.value).security), EVE).size is None
    bad = replace(described(size=None, bad_number="-1"), security=secured(cipher=Cipher.CHUNKED.value).security)
    with pytest.raises(RemoteProtocolError, match="no valid size"):
        judge(bad, EVE)


def test_encryption_is_judged_before_anything_else_of_the_file():
    with pytest.raises(TrustError):
        judge(replace(described(size=None), security=None, transport=None), EVE)


def test_an_offer_without_a_transport_is_refused():
    with pytest.raises(RemoteProtocolError, match="no transport"):
        judge(offer(transport=None), EVE)


def test_a_transport_that_jet_does_not_speak_is_named():
    with pytest.raises(UnsupportedError, match=r"offered 'plan\.txt' over urn:xmpp:jingle:transports:ice:0"):
        judge(offer(transport=UnknownTransport("urn:xmpp:jingle:transports:ice:0")), EVE)


@given(name=st.text(max_size=300), namespace=st.text(max_size=300), sender=st.text(min_size=1, max_size=300))
def test_nothing_that_a_peer_says_can_steer_the_terminal(name, namespace, sender):
    for content in (offer(security=None), offer(transport=UnknownTransport(namespace))):
        with pytest.raises((TrustError, UnsupportedError)) as refused:
            judge(replace(content, description=replace(FILE, name=name)), sender)
        assert not set(refused.value.message) & set("\x1b\x9b\n\r\u202e\u2028\u200f")


def test_an_acceptance_repeats_the_offer_without_its_encryption():
    accepted = acceptance(OFFER, InbandTransport("i", 4096))
    assert (accepted.creator, accepted.name, accepted.senders) == ("initiator", "c1", "initiator")
    assert (accepted.description.name, accepted.description.size) == ("plan.txt", 16)
    assert accepted.description.range == Range()
    assert accepted.security is None
    assert acceptance(described(range=None), TRANSPORT).description.range is None


@pytest.mark.parametrize(
    "security",
    [
        None,
        OFFER.security,
        replace(OFFER.security, envelope=None),
        replace(OFFER.security, cipher=f"{OFFER.security.cipher}:0"),
        replace(OFFER.security, name=None),
    ],
)
def test_an_acceptance_may_leave_out_or_repeat_the_encryption(security):
    check_acceptance(OFFER, replace(OFFER, security=security), EVE)


@pytest.mark.parametrize(
    "change",
    [
        {"cipher": Cipher.AES_256_GCM.value},
        {"cipher": "urn:xmpp:ciphers:none"},
        {"cipher": None},
        {"type": "urn:xmpp:omemo:2"},
        {"envelope": dataclasses.replace(ENVELOPE, iv=b"another one!")},
    ],
)
def test_an_acceptance_must_not_change_the_encryption(change):
    with pytest.raises(TrustError, match=r"eve@west\.example accepted another encryption"):
        check_acceptance(OFFER, secured(**change), EVE)


JIDS = st.sampled_from(["a@x/1", "a@x/2", "b@x/1"])
SIDS = st.sampled_from(["1", "2", "é", "Z"])


@given(SIDS, JIDS, SIDS, JIDS)
def test_exactly_one_of_two_offers_of_the_same_file_gives_way(our_sid, our_jid, their_sid, their_jid):
    ours, theirs = Initiate(our_sid, OFFER), Initiate(their_sid, OFFER)
    we, they = yields(ours, our_jid, theirs, their_jid), yields(theirs, their_jid, ours, our_jid)
    assert (we, they) == (False, False) if (our_sid, our_jid) == (their_sid, their_jid) else we is not they


def test_the_lower_session_id_wins():
    assert not yields(Initiate("a", OFFER), "z@x/1", Initiate("b", OFFER), "a@x/1")
    assert yields(Initiate("b", OFFER), "a@x/1", Initiate("a", OFFER), "z@x/1")
    assert yields(Initiate("a", OFFER), "z@x/1", Initiate("a", OFFER), "a@x/1")
