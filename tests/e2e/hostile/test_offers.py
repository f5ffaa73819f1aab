"""Offers that a receiver must refuse: the line, the exit code, what the peer is told, and that nothing was written."""

import asyncio
import base64
import time

import pytest
from lxml import etree

from jetcli.protocol import model
from jetcli.protocol.cipher import stream_key
from jetcli.protocol.flood import STANZA_BURST, STANZAS_PER_S
from jetcli.protocol.model import Cipher
from jetcli.protocol.transcript import Transcript
from jetcli.xmpp.ask import StanzaError
from jetcli.xmpp.jingle_writer import write


def bare(jid):
    return jid.partition("/")[0]


# Offers that are withdrawn before they are accepted.


@pytest.mark.parametrize("cipher", [Cipher.AES_128_GCM, Cipher.CHUNKED])
async def test_an_offer_that_is_withdrawn_while_it_is_looked_at_leaves_the_receiver_waiting(
    receive, peer, jet_peer, cipher
):
    victim = await receive(output="report.pdf")
    sender = jet_peer if cipher is Cipher.CHUNKED else peer
    await (await sender.prepare(victim.jid, cipher)).send_and_withdraw()
    victim.process.wait_for("Lost report.pdf from .*: withdrawn by the sender")
    victim.unharmed()
    offer = await (await sender.prepare(victim.jid, cipher)).send()
    await offer.serve(offer.sealed())
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 0, victim.process


# The encryption of an offer.


async def test_an_offer_without_encryption_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.jingle.contents[0].security = None
    await offer.send()
    await victim.ended(8, f"{bare(peer.jid)} offered 'report.pdf' without encryption; refused")
    assert (await offer.end()).condition == "security-error"


async def test_an_unsupported_cipher_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.security.cipher = "urn:xmpp:ciphers:aes-128-cbc"
    await offer.send()
    await victim.ended(8, f"{bare(peer.jid)} offered 'report.pdf' under an unsupported cipher; refused")
    assert (await offer.end()).condition == "security-error"


async def test_an_envelope_for_other_devices_only_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    for key in offer.security.encrypted.header.keys:
        key.rid = str(int(key.rid) % 1000 + 1)
    await offer.send()
    await victim.ended(8, "the offer was not encrypted for this device", f"{bare(peer.jid)} has no session with it yet")
    assert (await offer.end()).condition == "security-error"


async def test_an_envelope_whose_key_is_too_short_for_the_cipher_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.security.cipher = Cipher.AES_256_GCM.value
    await offer.send()
    await victim.ended(15, "the offer's envelope does not fit its cipher")


async def test_an_envelope_of_somebody_else_is_refused(victim, peer, jet_peer):
    offer, theirs = await peer.prepare(victim.jid), await jet_peer.prepare(victim.jid)
    offer.security.encrypted = theirs.security.encrypted
    await offer.send()
    await victim.ended(8, f"the offer was sealed by a device that {bare(peer.jid)} does not publish")


async def test_a_damaged_envelope_is_refused(victim, peer):
    offer = await peer.prepare(victim.jid)
    key = offer.security.encrypted.header.keys[0]
    key.text = key.text[:40] + ("A" if key.text[40] != "A" else "B") + key.text[41:]
    await offer.send()
    await victim.ended(8, f"the offer of {bare(peer.jid)} could not be opened")


async def test_an_offer_of_an_untrusted_device_is_refused_with_its_fingerprint(receive, online):
    victim = await receive(suspicious=True)
    peer = await online("new")
    offer = await (await peer.prepare(victim.jid)).send()
    await victim.ended(8, f"the offering device of {bare(peer.jid)} is not trusted", "compare ")
    assert (await offer.end()).condition == "security-error"


async def test_an_envelope_is_taken_once(receive, peer):
    victim = await receive("--forever")
    first = await (await peer.prepare(victim.jid)).send()
    await first.serve(first.sealed())
    assert (await first.end()).condition == "success"
    again = await peer.prepare(victim.jid)
    again.security.encrypted = first.security.encrypted
    await again.send()
    assert (await again.end()).condition == "security-error"
    await asyncio.to_thread(victim.process.wait_for, "jet: error: ")
    victim.unharmed(left={"report.pdf"})


async def test_our_own_envelope_sent_back_to_us_is_refused(jet, target, victim, peer):
    sending = await asyncio.to_thread(jet, target, "send", str(target.root / "precious"), peer.jid)
    ours = (await peer.hears(model.Initiate)).content.security.envelope
    offer = await peer.prepare(victim.jid)
    header = offer.security.encrypted.header
    header.sid = str(ours.sender)
    header.keys[0].rid = str(ours.sender)
    await offer.send()
    await victim.ended(8, "the offer was sealed by a device that")
    sending.end()


async def test_a_plain_stream_of_a_device_that_was_a_jet_is_refused(receive, jet_peer):
    victim = await receive("--forever")
    offer = await (await jet_peer.prepare(victim.jid, Cipher.CHUNKED)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    weaker = await (await jet_peer.prepare(victim.jid)).send()
    assert (await weaker.end()).condition == "security-error"
    await asyncio.to_thread(
        victim.process.wait_for,
        f"error: {bare(jet_peer.jid)} used a jet before and offers a weaker stream now; refused",
    )
    victim.unharmed(left={"report.pdf"})


async def test_a_server_that_calls_a_plain_stream_chunked_spoils_that_one_only(receive, peer):
    victim = await receive("--forever")
    altered = await peer.prepare(victim.jid, Cipher.AES_256_GCM)
    altered.security.cipher = Cipher.CHUNKED.value
    await altered.send()
    await altered.serve(altered.sealed())
    assert (await altered.end()).condition == "security-error"
    await asyncio.to_thread(victim.process.wait_for, "'report.pdf' was altered on the way; nothing was saved")
    plain = await (await peer.prepare(victim.jid)).send()
    await plain.serve(plain.sealed())
    assert (await plain.end()).condition == "success"
    victim.unharmed(left={"report.pdf"})


async def test_envelopes_of_two_offers_cannot_be_exchanged_between_jets(receive, jet_peer):
    victim = await receive("-n", "2")
    one, two = [await jet_peer.prepare(victim.jid, Cipher.CHUNKED, name=name) for name in ("one", "two")]
    one.security.encrypted, two.security.encrypted = two.security.encrypted, one.security.encrypted
    for offer in (one, two):
        await offer.send()
        await offer.serve(offer.sealed())
        assert (await offer.end()).condition == "security-error"
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 12
    for name in ("one", "two"):
        assert f"jet: error: '{name}' was altered on the way; nothing was saved" in victim.process.stderr
    victim.unharmed()


async def test_the_description_of_an_offer_cannot_be_edited_on_its_way_between_jets(victim, jet_peer):
    offer = await jet_peer.prepare(victim.jid, Cipher.CHUNKED)
    offer.file.name = "other.pdf"
    await offer.send()
    await offer.serve(offer.sealed())
    await victim.ended(12, "'other.pdf' was altered on the way; nothing was saved")


# The keys of an offer that was taken.


def keys_of(offer, responder: str) -> list[bytes]:
    """The transport key of a chunked offer, and the key of its stream, which comes from that."""
    transcript = Transcript.of(offer.content, sid=offer.sid, initiator=offer.peer.jid, responder=responder)
    return [offer.secret.key, stream_key(offer.secret, transcript.digest())]


async def test_a_transfer_that_broke_leaves_no_key_of_its_stream_on_the_disk(victim, jet_peer):
    offer = await (await jet_peer.prepare(victim.jid, Cipher.CHUNKED)).send()
    await offer.serve(offer.sealed()[:-1])
    await victim.ended(10, "connection lost after 4,999 of 5,000 bytes", parts=True)
    written = {path: path.read_bytes() for path in victim.target.root.rglob("*") if path.is_file()}
    assert victim.target.path / "state" / victim.target.jid / "state.db" in written
    assert any(offer.sid.encode() in content for content in written.values()), "the transfer itself is on record"
    for key in keys_of(offer, victim.jid):
        for form in (key, key.hex().encode(), base64.b64encode(key)[:-2], base64.urlsafe_b64encode(key)[:-2]):
            assert not [path for path, content in written.items() if form in content]


async def test_no_key_is_told_however_much_is(receive, jet_peer):
    victim = await receive("-vv")
    offer = await (await jet_peer.prepare(victim.jid, Cipher.CHUNKED)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 0
    assert offer.sid in victim.process.stderr, "what is told is told in detail"
    for key in keys_of(offer, victim.jid):
        for form in (key.hex(), base64.b64encode(key).decode()[:-2], repr(key)[2:-1]):
            assert form not in victim.process.stderr


# Names.


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../.ssh/authorized_keys", "../../.ssh/authorized_keys"),
        ("/root/.bashrc", "/root/.bashrc"),
        ("invoice\u202efdp.exe", "invoice\\u202efdp.exe"),
        ("\x9b2J\x9b31mreport\x85", "\\x9b2J\\x9b31mreport\\x85"),
    ],
)
async def test_an_unsafe_name_is_refused_and_shown_escaped(victim, peer, name, shown):
    offer = await peer.prepare(victim.jid)
    offer.file.name = name
    await offer.send()
    await victim.ended(15, f"refused unsafe file name '{shown}'", "jet receive -o NAME")
    assert (await offer.end()).condition == "failed-application"


@pytest.mark.parametrize(
    ("name", "way_out"),
    [(".bashrc", "--allow-hidden, or -o NAME"), ("a\\b", "-o NAME"), ("zero\u200bwidth", "-o NAME"), (None, "-o NAME")],
)
async def test_a_name_that_is_not_taken_here_is_declined_and_the_next_offer_waited_for(victim, peer, name, way_out):
    offer = await peer.prepare(victim.jid)
    offer.file.name = name
    await offer.send()
    assert (await offer.end()).condition == "decline"
    await asyncio.to_thread(victim.process.wait_for, f"refused unsafe file name .*; to take it:  jet receive {way_out}")
    await _still_receives(victim, peer)


async def test_a_name_of_our_own_replaces_an_unsafe_one(receive, target, peer):
    victim = await receive(output="chosen")
    offer = await (await peer.prepare(victim.jid, name="../../evil")).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    await asyncio.to_thread(victim.process.finished)
    assert (victim.inbox / "chosen").is_file()
    victim.unharmed(left={"chosen"})


async def test_a_name_of_a_megabyte_is_refused_and_nothing_of_it_is_kept(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.file.name = "n" * 200_000
    with pytest.raises(StanzaError, match="bad-request"):
        await offer.send()
    victim.unharmed()


# Sizes.


@pytest.mark.parametrize("size", ["-1", "1e9", "٣", "9" * 30, None])
async def test_a_size_that_is_none_is_refused(victim, peer, size):
    offer = await peer.prepare(victim.jid)
    offer.file.size = size
    await offer.send()
    await victim.ended(15, "the offer has no valid size")
    assert (await offer.end()).condition == "failed-application"


async def test_a_file_that_does_not_fit_the_disk_is_refused(victim, jet_peer):
    await (await jet_peer.prepare(victim.jid, Cipher.CHUNKED, size=9_000_000_000_000_000)).send()
    await victim.ended(13, "not enough space in 'inbox")


async def test_more_than_the_plain_cipher_may_seal_is_refused(victim, peer):
    await (await peer.prepare(victim.jid, size=2**36 - 31)).send()
    await victim.ended(15, "'report.pdf' is larger than its cipher allows")


async def test_a_file_larger_than_allowed_is_declined(receive, peer):
    victim = await receive("--max-size", "1k", "--forever")
    offer = await (await peer.prepare(victim.jid)).send()
    assert (await offer.end()).condition == "decline"
    victim.unharmed()


# What a receiver that stays up does.


async def test_a_receiver_that_stays_up_reports_a_bad_offer_and_takes_the_next(receive, peer):
    victim = await receive("--forever")
    bad = await peer.prepare(victim.jid)
    bad.jingle.contents[0].security = None
    await bad.send()
    assert (await bad.end()).condition == "security-error"
    good = await (await peer.prepare(victim.jid)).send()
    await good.serve(good.sealed())
    assert (await good.end()).condition == "success"
    assert "jet: error: " in victim.process.stderr
    assert victim.process.code is None
    victim.unharmed(left={"report.pdf"})


async def test_a_stranger_is_declined_and_told_nothing_of_us(receive, online):
    victim = await receive("--forever")
    stranger = await online("stranger")
    offer = await (await stranger.prepare(victim.jid)).send()
    assert (await offer.end()).condition == "decline"
    assert stranger.heard.empty()
    victim.unharmed()


# Stanzas that redirect or confuse.


async def test_an_initiator_that_is_not_the_sender_is_refused(victim, peer, jet_peer):
    offer = await peer.prepare(victim.jid)
    offer.jingle.initiator = jet_peer.jid
    with pytest.raises(StanzaError, match="bad-request"):
        await offer.send()
    assert jet_peer.heard.empty()
    await _still_receives(victim, peer)


async def test_stanzas_of_a_third_person_change_nothing(victim, peer, jet_peer):
    offer = await (await peer.prepare(victim.jid)).send()
    content, sid = offer.content, offer.sid
    transport_sid = content.transport.sid
    for action in (
        model.Terminate(sid, model.Reason("success")),
        model.Accept(sid, content),
        model.TransportInfo(sid, "initiator", "a-file", None, transport_sid, model.CandidateError()),
        model.TransportReplace(sid, model.Content("initiator", "a-file", transport=model.InbandTransport("x", 4096))),
        model.SessionInfo(sid, model.Checksum((model.Hash("sha-256", bytes(32)),)), "initiator", "a-file"),
    ):
        with pytest.raises(StanzaError, match="unknown-session"):
            await jet_peer.say(victim.jid, write(action))
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 0
    victim.unharmed(left={"report.pdf"})


async def test_an_action_that_nobody_knows_is_answered_with_an_error(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.jingle.action = "content-explode"
    with pytest.raises(StanzaError, match="feature-not-implemented"):
        await offer.send()
    await _still_receives(victim, peer)


async def test_text_where_none_belongs_is_answered_with_an_error_and_does_no_harm(victim, peer):
    offer = await peer.prepare(victim.jid)
    offer.jingle.contents.clear()
    offer.jingle.rest.append(etree.fromstring("<content xmlns='urn:xmpp:jingle:1'>text</content>"))
    with pytest.raises(StanzaError, match="bad-request"):
        await offer.send()
    await _still_receives(victim, peer)


async def test_a_flood_of_offers_keeps_nobody_else_out(receive, peer, jet_peer):
    victim = await receive("--forever")

    async def knock(number: int) -> str:
        bad = write(model.Initiate(f"flood-{number}", model.Content("initiator", "a-file", "initiator")))
        try:
            await peer.say(victim.jid, bad)
        except StanzaError as error:
            return error.condition
        return "taken"

    began = time.monotonic()
    answers = await asyncio.gather(*map(knock, range(1_000)))
    most = STANZA_BURST + STANZAS_PER_S * (time.monotonic() - began)
    assert 0 < answers.count("taken") <= most + 1
    assert set(answers) == {"taken", "resource-constraint"}
    offer = await (await jet_peer.prepare(victim.jid, Cipher.CHUNKED)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    victim.unharmed(left={"report.pdf"})


async def _still_receives(victim, peer) -> None:
    offer = await (await peer.prepare(victim.jid)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 0
    victim.unharmed(left={"report.pdf"})
