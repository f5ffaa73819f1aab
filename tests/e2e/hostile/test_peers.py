"""Peers that a sender must not send to, or must not believe."""

import asyncio

import aioxmpp
import pytest
from msgspec.structs import replace

from jetcli.protocol import model
from jetcli.protocol.quirks import RECEIVING, SENDING
from jetcli.xmpp.ask import StanzaError


@pytest.fixture
def send(jet, target):
    """Start `jet send` of a file to somebody; whatever becomes of it, no file here has come, gone or changed."""
    before_it = target.tree()

    async def start(to: str, *options: str, before: tuple[str, ...] = (), file: str = "../../../precious"):
        return await asyncio.to_thread(jet, target, *before, "send", *options, file, to)

    yield start
    assert target.tree() == before_it


async def fails(process, code: int, line: str, hint: str = "") -> None:
    await asyncio.to_thread(process.finished)
    assert process.code == code, process
    errors = [said for said in process.stderr.splitlines() if said.startswith("jet: error: ")]
    assert len(errors) == 1, process
    assert line in errors[0], process
    assert not hint or f"jet: hint: {hint}" in process.stderr, process
    assert "Traceback" not in process.stderr
    assert process.stdout == ""


# A jet whose server hides what it can do.


async def test_a_device_that_was_a_jet_gets_no_weaker_stream(send, online, receive, cast):
    """T43: the feature of the chunked cipher is gone from disco, or was taken out on the way."""
    jet_peer = await online("jet")
    victim = await receive()
    offer = await (await jet_peer.prepare(victim.jid, model.Cipher.CHUNKED)).send()
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    await asyncio.to_thread(victim.process.finished)
    plain = await online("jet", features=[each for each in RECEIVING if not each.startswith("urn:jetcli:")])
    process = await send(plain.jid, file=str(victim.inbox / "report.pdf"))
    await fails(process, 8, "takes a weaker stream only, and its account has used nothing but jets; refused")
    assert plain.heard.empty()
    (victim.inbox / "report.pdf").unlink()
    victim.inbox.rmdir()


# Before anything is sent.


async def test_an_address_that_is_not_online_is_unavailable(send, cast):
    await fails(await send(cast["old"].jid), 6, f"{cast['old'].jid} is not online", "jet send --wait 1h FILE ")


async def test_somebody_who_is_no_contact_is_unavailable_with_two_ways_out(send, cast):
    stranger = cast["stranger"].jid
    await fails(await send(stranger), 6, f"{stranger} is no contact of yours", "use the full address")


async def test_a_client_that_takes_no_encrypted_files_is_not_sent_to(send, online):
    other = await online("old", features=SENDING, device=False)
    line = f"{other.jid} cannot receive encrypted transfers (missing jingle:file-transfer, jingle:jet"
    await fails(await send(other.jid), 7, line, "jet caps ")


async def test_a_contact_without_an_omemo_device_is_not_sent_to(send, online):
    bare = await online("keyless", device=False)
    await fails(await send(bare.jid), 7, "has published no OMEMO device")
    assert bare.heard.empty()


async def test_a_contact_without_a_trusted_device_is_not_sent_to(send, online, target):
    new = await online("new")
    process = await send(new.jid, before=target.suspicious)
    await fails(process, 8, f"no trusted device of {new.jid.partition('/')[0]}", "compare ")
    assert new.heard.empty()


# After the offer.


async def offered(peer):
    """Wait for the offer; return it with what accepts it, without any candidate."""
    offer = await peer.hears(model.Initiate)
    content = offer.content
    transport = model.Socks5Transport(content.transport.sid)
    return offer, replace(content, transport=transport, security=None)


async def test_a_decline_is_told(send, peer):
    process = await send(peer.jid)
    offer, _ = await offered(peer)
    await peer.answers(model.Terminate(offer.sid, model.Reason("decline", "no \u202ethanks")))
    await fails(process, 9, f"{peer.jid} declined 'precious': no \\u202ethanks")


async def test_an_acceptance_with_another_encryption_is_refused(send, peer):
    process = await send(peer.jid)
    offer, acceptance = await offered(peer)
    weaker = replace(offer.content.security, cipher="urn:xmpp:ciphers:aes-128-cbc")
    await peer.answers(model.Accept(offer.sid, replace(acceptance, security=weaker)))
    line = f"{peer.jid.partition('/')[0]} accepted another encryption than was offered; nothing was sent"
    await fails(process, 8, line)
    assert (await peer.hears(model.Terminate)).reason.condition == "security-error"


@pytest.mark.parametrize(
    "change",
    [
        lambda content: replace(content, transport=model.InbandTransport("i", 4096)),
        lambda content: replace(content, transport=None),
        lambda content: replace(content, name="another"),
        lambda content: replace(content, creator="responder"),
    ],
)
async def test_an_acceptance_of_something_else_is_answered_with_an_error(send, peer, change):
    process = await send(peer.jid)
    offer, acceptance = await offered(peer)
    with pytest.raises(StanzaError, match="bad-request"):
        await peer.answers(model.Accept(offer.sid, change(acceptance)))
    assert process.code is None


async def test_a_success_before_the_file_was_sent_is_not_believed(send, peer):
    process = await send(peer.jid)
    offer, _ = await offered(peer)
    await peer.answers(model.Terminate(offer.sid, model.Reason("success")))
    await fails(process, 6, f"{peer.jid} withdrew from 'precious' (success)")


async def test_an_offer_refused_by_a_stanza_error_ends_the_sending(send, peer):
    def refuse(action):
        if isinstance(action, model.Initiate):
            raise aioxmpp.errors.XMPPCancelError(aioxmpp.ErrorCondition.NOT_ACCEPTABLE, text="\x9b2J")

    peer.answer = refuse
    await fails(await send(peer.jid), 8, f"{peer.jid} could not open the encryption of 'precious'")


async def test_addresses_that_lead_nowhere_good_are_not_dialled(send, peer):
    process = await send(peer.jid, "--path", "direct")
    offer, acceptance = await offered(peer)
    hosts = ("169.254.169.254", "10.255.255.1", "224.0.0.1")
    bad = tuple(model.Candidate(f"c{i}", host, 5222, peer.jid, 8_257_536 - i) for i, host in enumerate(hosts))
    transport = model.Socks5Transport(offer.content.transport.sid, bad)
    await peer.answers(model.Accept(offer.sid, replace(acceptance, transport=transport)))
    note = model.TransportInfo(offer.sid, "initiator", acceptance.name, None, transport.sid, model.CandidateError())
    await peer.answers(note)
    await fails(process, 5, "3 addresses refused by policy")
