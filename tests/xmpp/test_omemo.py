"""Envelopes between accounts over a PEP in memory: who is sealed for, and who is believed."""

import base64
import dataclasses
import logging
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace
from omemos import JULIET, LONG_SECRET, MALLORY, ROMEO, SECRET, quiet, transfer

from jetcli.errors import RemoteProtocolError, TrustError, UnsupportedError
from jetcli.protocol.device import Trust
from jetcli.protocol.model import Envelope, EnvelopeKey, TransportSecret
from jetcli.transfer.hello import LINE, say_hello
from jetcli.xmpp.omemo import fingerprint


async def test_the_receiver_gets_the_key_and_iv_and_learns_who_sealed_it(romeo, juliet):
    envelope, devices = await romeo.seal(SECRET, JULIET)
    opened = await juliet.open(envelope, f"{ROMEO}/balcony")
    assert (opened.key_material, opened.iv) == (SECRET.key, SECRET.iv)
    assert opened.device == replace(romeo.own_device, trust=Trust.BLIND)
    assert devices == (replace(juliet.own_device, trust=Trust.BLIND),)


async def test_a_key_of_32_bytes_arrives_whole(romeo, juliet):
    assert (await transfer(romeo, juliet, LONG_SECRET)).key_material == LONG_SECRET.key


async def test_there_is_no_payload_unless_a_blank_one_is_asked_for(romeo, juliet):
    plain, _ = await romeo.seal(SECRET, JULIET)
    blank, _ = await romeo.seal(SECRET, JULIET, blank_payload=True)
    assert (plain.payload, blank.payload) == (None, b"")
    assert (await juliet.open(blank, ROMEO)).key_material == SECRET.key


async def test_every_device_is_told_at_its_first_meeting_only(romeo, juliet):
    for _ in range(2):
        await transfer(romeo, juliet)
    assert [device.jid for device in romeo.met] == [JULIET]
    assert [device.jid for device in juliet.met] == [ROMEO]


async def test_a_greeting_is_one_message_that_the_other_side_can_read(world, romeo, juliet):
    world.lose = True
    assert await say_hello(SimpleNamespace(omemo=romeo), JULIET) == (replace(juliet.own_device, trust=Trust.BLIND),)
    [(to, message)] = world.readable
    assert (to, world.sent) == (JULIET, [])
    opened = await juliet.open(message, f"{ROMEO}/jet")
    key, tag = opened.key_material[:16], opened.key_material[16:]
    assert AESGCM(key).decrypt(opened.iv, message.payload + tag, None) == LINE.encode()


# Who is sealed for


async def test_only_the_peers_devices_are_sealed_for_and_bundles_of_our_own_never_fetched(world, start, romeo, juliet):
    tablet = await start(ROMEO)
    phone = await start(JULIET)
    world.asked.clear()
    envelope, devices = await romeo.seal(SECRET, JULIET)
    assert {key.device for key in envelope.keys} == {juliet.own_device.device_id, phone.own_device.device_id}
    assert len(devices) == 2
    assert all(jid == JULIET for jid, _ in world.asked)
    assert tablet.own_device.device_id in world.lists[ROMEO]


async def test_a_device_that_is_not_trusted_is_left_out(start, romeo, juliet):
    phone = await start(JULIET)
    romeo.book.levels[JULIET, phone.own_device.identity_key] = Trust.DISTRUSTED
    envelope, devices = await romeo.seal(SECRET, JULIET)
    assert [key.device for key in envelope.keys] == [juliet.own_device.device_id]
    assert [device.device_id for device in devices] == [juliet.own_device.device_id]


async def test_nobody_trusted_is_a_matter_of_trust_and_the_hint_shows_the_fingerprint(romeo, juliet):
    romeo.book.levels[JULIET, juliet.own_device.identity_key] = Trust.UNDECIDED
    with pytest.raises(TrustError, match=f"^no trusted device of {JULIET}$") as caught:
        await romeo.seal(SECRET, JULIET)
    assert fingerprint(juliet.own_device.identity_key) in caught.value.hint
    assert f"jet trust {JULIET}" in caught.value.hint


async def test_nobody_there_is_said_so(romeo):
    with pytest.raises(UnsupportedError, match=f"^{JULIET} has published no OMEMO device$"):
        await romeo.seal(SECRET, JULIET)


async def test_a_session_may_be_dead_until_it_is_answered_and_can_be_begun_anew(world, romeo, juliet):
    asked = (JULIET, juliet.own_device.device_id)
    _, devices = await romeo.seal(SECRET, JULIET)
    assert romeo.may_be_dead(devices)
    await romeo.seal(SECRET, JULIET)
    assert world.asked.count(asked) == 1
    envelope, _ = await romeo.seal(SECRET, JULIET, anew=True)
    assert world.asked.count(asked) == 2
    await juliet.open(envelope, f"{ROMEO}/jet")
    await quiet(romeo, juliet)
    assert not romeo.may_be_dead(devices)
    await romeo.seal(SECRET, JULIET, anew=True)
    assert world.asked.count(asked) == 2


async def test_a_device_without_bundle_is_left_out_and_alone_cannot_be_sealed_for(world, romeo, juliet):
    world.lists[JULIET] += (4711,)
    envelope, _ = await romeo.seal(SECRET, JULIET)
    assert [key.device for key in envelope.keys] == [juliet.own_device.device_id]
    world.lists[JULIET] = (4711,)
    with pytest.raises(UnsupportedError, match="usable keys"):
        await romeo.seal(SECRET, JULIET)


async def test_ids_that_no_client_can_have_are_not_asked_for(world, romeo, juliet):
    world.lists[JULIET] = (0, 2**31, juliet.own_device.device_id)
    envelope, _ = await romeo.seal(SECRET, JULIET)
    assert len(envelope.keys) == 1
    assert {device_id for _, device_id in world.asked} == {juliet.own_device.device_id}


async def test_our_own_other_device_is_sealed_for_only_when_it_is_verified(start, romeo):
    tablet = await start(ROMEO)
    with pytest.raises(TrustError):
        await romeo.seal(SECRET, ROMEO)
    romeo.book.levels[ROMEO, tablet.own_device.identity_key] = Trust.VERIFIED
    envelope, _ = await romeo.seal(SECRET, ROMEO)
    assert [key.device for key in envelope.keys] == [tablet.own_device.device_id]


async def test_a_device_that_publishes_another_key_than_before_is_not_sealed_for(world, start, romeo, juliet):
    await romeo.devices(JULIET)
    world.bundles[JULIET, juliet.own_device.device_id] = (await start(MALLORY))._device._ratchet.bundle()
    with pytest.raises(TrustError, match="has changed"):
        await romeo.seal(SECRET, JULIET)


async def test_looking_at_devices_does_not_trust_them(romeo, juliet):
    (device,) = await romeo.devices(JULIET)
    assert device == replace(juliet.own_device, trust=Trust.UNDECIDED)
    assert romeo.book.levels == {}
    romeo.book.levels[JULIET, device.identity_key] = Trust.VERIFIED
    assert [device.trust for device in await romeo.devices(JULIET)] == [Trust.VERIFIED]


# Who is believed


async def test_an_envelope_for_others_is_row_20(start, romeo, juliet):
    nurse = await start("nurse@capulet.example")
    envelope, _ = await romeo.seal(SECRET, JULIET)
    with pytest.raises(TrustError, match=r"^the offer was not encrypted for this device$") as caught:
        await nurse.open(envelope, ROMEO)
    assert "encrypted message" in caught.value.hint


async def test_a_sender_that_the_account_does_not_publish_is_refused(world, romeo, juliet):
    envelope, _ = await romeo.seal(SECRET, JULIET)
    world.lists[ROMEO] = ()
    with pytest.raises(TrustError, match="does not publish"):
        await juliet.open(envelope, ROMEO)
    assert juliet.book.levels == {}


async def test_a_sender_that_was_taken_off_the_list_is_refused_from_then_on(world, romeo, juliet):
    await transfer(romeo, juliet)
    envelope, _ = await romeo.seal(SECRET, JULIET)
    world.lists[ROMEO] = ()
    with pytest.raises(TrustError, match="does not publish"):
        await juliet.open(envelope, ROMEO)


async def test_an_envelope_is_opened_once(romeo, juliet):
    for _ in range(2):
        envelope, _ = await romeo.seal(SECRET, JULIET)
        await juliet.open(envelope, ROMEO)
        await quiet(romeo, juliet)
        with pytest.raises(TrustError, match="opened before"):
            await juliet.open(envelope, ROMEO)


async def test_mallorys_envelope_in_romeos_offer_is_refused(start, romeo, juliet):
    mallory = await start(MALLORY)
    envelope, _ = await mallory.seal(SECRET, JULIET)
    with pytest.raises(TrustError):
        await juliet.open(envelope, ROMEO)
    with pytest.raises(TrustError):
        await juliet.open(dataclasses.replace(envelope, sender=romeo.own_device.device_id), ROMEO)
    assert juliet.book.levels == {}
    assert (await transfer(romeo, juliet)).key_material == SECRET.key


async def test_mallory_who_publishes_romeos_device_as_his_own_cannot_forward_his_envelope(world, start, romeo, juliet):
    await start(MALLORY)
    number = romeo.own_device.device_id
    world.lists[MALLORY] = (number,)
    world.bundles[MALLORY, number] = world.bundles[ROMEO, number]
    await transfer(romeo, juliet)
    envelope, _ = await romeo.seal(SECRET, JULIET)
    with pytest.raises(TrustError):
        await juliet.open(envelope, MALLORY)


async def test_our_own_envelope_back_to_us_is_refused(world, romeo, juliet):
    envelope, _ = await romeo.seal(SECRET, JULIET)
    with pytest.raises(TrustError, match="this very device"):
        await romeo.open(envelope, ROMEO)
    number = 4711
    world.lists[MALLORY] = (number,)
    world.bundles[MALLORY, number] = world.bundles[ROMEO, romeo.own_device.device_id]
    mirrored = Envelope(
        number, SECRET.iv, (EnvelopeKey(romeo.own_device.device_id, envelope.keys[0].data, prekey=True),)
    )
    with pytest.raises(TrustError, match="own key"):
        await romeo.open(mirrored, MALLORY)


async def test_a_sender_that_is_not_decided_on_is_refused_but_the_ratchet_goes_on(romeo, juliet):
    juliet.book.levels[ROMEO, romeo.own_device.identity_key] = Trust.UNDECIDED
    with pytest.raises(TrustError, match="not trusted") as caught:
        await transfer(romeo, juliet)
    assert fingerprint(romeo.own_device.identity_key) in caught.value.hint
    juliet.book.levels[ROMEO, romeo.own_device.identity_key] = Trust.VERIFIED
    assert (await transfer(romeo, juliet)).device.trust is Trust.VERIFIED


async def test_a_distrusted_sender_gets_no_answer(world, romeo, juliet):
    juliet.book.levels[ROMEO, romeo.own_device.identity_key] = Trust.DISTRUSTED
    with pytest.raises(TrustError, match="distrusted"):
        await transfer(romeo, juliet)
    await quiet(romeo, juliet)
    assert world.sent == []


@pytest.mark.parametrize("size", [0, 15, 17, 33])
async def test_key_material_of_another_size_is_the_peers_fault(romeo, juliet, size):
    envelope, _ = await romeo.seal(TransportSecret(bytes(size), SECRET.iv), JULIET)
    with pytest.raises(RemoteProtocolError):
        await juliet.open(envelope, ROMEO)


# Secrets


async def test_no_key_material_reaches_the_logs_even_at_debug(romeo, juliet, caplog):
    kept = {name: logging.getLogger(name).level for name in ("omemo.core",)}
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        if name not in kept:
            caplog.set_level(logging.DEBUG, logger=name)
    for sender, receiver in [(romeo, juliet), (juliet, romeo)] * 2:
        opened = await transfer(sender, receiver, LONG_SECRET)
        logging.getLogger("test").debug("%r %r", opened, romeo.own_device)
    assert "OpenedEnvelope" in caplog.text
    secrets = [LONG_SECRET.key, LONG_SECRET.iv, base64.urlsafe_b64decode(romeo.memory["/ikp/key"])]
    for secret in secrets:
        spellings = [secret.hex(), base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()]
        assert not any(spelling in caplog.text for spelling in [*spellings, repr(secret), repr(secret)[2:-1]])


def test_a_fingerprint_is_eight_groups_of_eight():
    assert fingerprint(bytes(range(32))).split()[:2] == ["00010203", "04050607"]
    assert [len(group) for group in fingerprint(bytes(32)).split()] == [8] * 8
