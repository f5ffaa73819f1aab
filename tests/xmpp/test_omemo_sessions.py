"""The ratchet stays alive, and our device stays published."""

import asyncio
import dataclasses

import pytest
from omemos import JULIET, LONG_SECRET, ROMEO, SECRET, Book, Lock, Pep, quiet, transfer

from jetcli.errors import TrustError, UnavailableError
from jetcli.protocol.model import Envelope, EnvelopeKey
from jetcli.xmpp import omemo_ratchet
from jetcli.xmpp.omemo import Omemo
from jetcli.xmpp.omemo_pep import OwnDevices, Received

# The ratchet stays alive


async def test_the_answer_goes_to_the_full_jid_and_confirms_the_session(world, romeo, juliet):
    first, _ = await romeo.seal(SECRET, JULIET)
    await juliet.open(first, f"{ROMEO}/balcony")
    await quiet(romeo, juliet)
    second, _ = await romeo.seal(SECRET, JULIET)
    assert [to for to, _ in world.sent] == [f"{ROMEO}/balcony"]
    assert (first.keys[0].prekey, second.keys[0].prekey) == (True, False)


async def test_a_peer_that_never_hears_our_answer_is_opened_all_the_same(world, romeo, juliet):
    world.lose = True
    for _ in range(3):
        envelope, _ = await romeo.seal(SECRET, JULIET)
        assert envelope.keys[0].prekey
        assert (await juliet.open(envelope, ROMEO)).key_material == SECRET.key


async def test_messages_step_the_ratchet_and_what_they_say_is_dropped(world, start, romeo, juliet, monkeypatch):
    await transfer(romeo, juliet)
    monkeypatch.setattr(omemo_ratchet, "MAX_SKIPPED", 10)
    again = await start(JULIET, like=juliet)
    juliet.pep.inbox = asyncio.Queue()
    world.online[JULIET].remove(juliet.pep)
    for _ in range(30):
        envelope, _ = await romeo.seal(SECRET, JULIET)
        chat = dataclasses.replace(envelope, payload=b"what light through yonder window breaks")
        await romeo.pep.send(JULIET, chat)
    await quiet(romeo, again)
    assert (await transfer(romeo, again)).key_material == SECRET.key


async def test_a_session_beyond_repair_is_replaced_and_the_next_offer_opens(world, start, romeo, juliet, monkeypatch):
    await transfer(romeo, juliet)
    monkeypatch.setattr(omemo_ratchet, "MAX_SKIPPED", 10)
    again = await start(JULIET, like=juliet)
    for _ in range(30):
        unseen, _ = await romeo.seal(SECRET, JULIET)
    with pytest.raises(TrustError, match="could not be opened") as caught:
        await again.open(unseen, f"{ROMEO}/jet")
    assert "sent again" in caught.value.hint
    envelope, _ = await romeo.seal(SECRET, JULIET)
    assert (await again.open(envelope, f"{ROMEO}/jet")).key_material == SECRET.key


async def test_a_message_that_cannot_be_opened_replaces_the_session_once(world, romeo, juliet):
    await transfer(romeo, juliet)
    world.sent.clear()
    world.lose = True
    broken = Envelope(romeo.own_device.device_id, SECRET.iv, (EnvelopeKey(juliet.own_device.device_id, b"3" * 60),))
    for _ in range(3):
        juliet.pep.inbox.put_nowait(Received(f"{ROMEO}/phone", broken))
    await quiet(juliet)
    assert [to for to, _ in world.sent] == [f"{ROMEO}/phone"]


async def test_a_session_is_only_said_to_be_replaced_where_it_was(world, romeo, juliet):
    await transfer(romeo, juliet)
    world.sent.clear()
    bundle = world.bundles.pop((ROMEO, romeo.own_device.device_id))
    broken = Envelope(romeo.own_device.device_id, SECRET.iv, (EnvelopeKey(juliet.own_device.device_id, b"3" * 60),))
    with pytest.raises(TrustError, match="could not be opened") as caught:
        await juliet.open(broken, f"{ROMEO}/jet")
    assert caught.value.hint == f"see which devices of {ROMEO} can be used:  jet caps {ROMEO}"
    world.bundles[ROMEO, romeo.own_device.device_id] = bundle
    with pytest.raises(TrustError, match="could not be opened") as caught:
        await juliet.open(broken, f"{ROMEO}/jet")
    assert "was replaced" in caught.value.hint
    assert [to for to, _ in world.sent] == [f"{ROMEO}/jet"]


async def test_a_message_that_comes_twice_changes_nothing(world, romeo, juliet):
    await transfer(romeo, juliet)
    world.sent.clear()
    envelope, _ = await romeo.seal(SECRET, JULIET)
    for _ in range(2):
        juliet.pep.inbox.put_nowait(Received(f"{ROMEO}/jet", envelope))
    await quiet(juliet)
    assert world.sent == []


async def test_a_message_from_an_unpublished_device_is_ignored(world, romeo, juliet):
    envelope, _ = await romeo.seal(SECRET, JULIET)
    world.lists[ROMEO] = ()
    juliet.pep.inbox.put_nowait(Received(f"{ROMEO}/jet", envelope))
    await quiet(juliet)
    assert world.sent == []


async def test_a_silent_server_does_not_end_the_feeding(world, romeo, juliet):
    first, _ = await romeo.seal(SECRET, JULIET)
    world.down = True
    juliet.pep.inbox.put_nowait(Received(f"{ROMEO}/jet", first))
    await quiet(juliet)
    world.down = False
    second, _ = await romeo.seal(SECRET, JULIET)
    juliet.pep.inbox.put_nowait(Received(f"{ROMEO}/jet", second))
    await quiet(juliet)
    assert len(world.sent) == 1


async def test_offers_that_cross_work_in_both_directions(romeo, juliet):
    to_juliet, _ = await romeo.seal(SECRET, JULIET)
    to_romeo, _ = await juliet.seal(LONG_SECRET, ROMEO)
    assert (await juliet.open(to_juliet, f"{ROMEO}/jet")).key_material == SECRET.key
    assert (await romeo.open(to_romeo, f"{JULIET}/jet")).key_material == LONG_SECRET.key
    await quiet(romeo, juliet)
    for sender, receiver in [(romeo, juliet), (juliet, romeo)] * 2:
        assert (await transfer(sender, receiver)).key_material == SECRET.key


async def test_several_jets_on_one_account_share_the_device(start, romeo, juliet):
    sending = await start(JULIET, like=juliet)
    assert sending.own_device == juliet.own_device

    async def give(jet):
        for _ in range(10):
            envelope, _ = await jet.seal(SECRET, ROMEO)
            assert (await romeo.open(envelope, f"{JULIET}/jet")).key_material == SECRET.key

    await asyncio.gather(give(juliet), give(sending))
    for jet in (sending, juliet):
        assert (await transfer(romeo, jet)).key_material == SECRET.key


async def test_jets_that_start_at_once_make_one_device(world, new_memory):
    memory, book, lock = new_memory(), Book(), Lock()
    peps = [Pep(world, ROMEO, memory) for _ in range(3)]
    jets = await asyncio.gather(*(Omemo.begin(pep, ROMEO, memory, book, lock) for pep in peps))
    assert len({jet.own_device for jet in jets}) == 1
    assert world.lists[ROMEO] == (jets[0].own_device.device_id,)
    for jet in jets:
        await jet.close()


# Staying published


async def test_a_device_is_made_and_published_once(world, start, romeo):
    again = await start(ROMEO, like=romeo)
    await quiet(romeo, again)
    assert world.published == {"list": 1, "bundle": 1}
    assert world.lists[ROMEO] == (again.own_device.device_id,)


async def test_other_devices_stay_on_the_list(world, start):
    world.lists[ROMEO] = (5, 2**32 - 1)
    romeo = await start(ROMEO)
    assert world.lists[ROMEO] == (5, 2**32 - 1, romeo.own_device.device_id)


async def test_publishing_that_failed_is_made_up_for_at_the_next_start(world, new_memory):
    memory, lock = new_memory(), Lock()
    pep = Pep(world, ROMEO, memory)
    pep.publish_device_list = pep.publish_bundle = _unavailable
    with pytest.raises(UnavailableError):
        await Omemo.begin(pep, ROMEO, memory, Book(), lock)
    romeo = await Omemo.begin(Pep(world, ROMEO, memory), ROMEO, memory, Book(), lock)
    number = romeo.own_device.device_id
    assert world.lists[ROMEO] == (number,)
    assert (ROMEO, number) in world.bundles
    await romeo.close()


async def _unavailable(*_):
    raise UnavailableError("no answer")


async def test_a_device_that_another_client_removed_comes_back(world, start, romeo):
    number = romeo.own_device.device_id
    world.lists[ROMEO] = (5,)
    romeo.pep.inbox.put_nowait(OwnDevices((5,)))
    await quiet(romeo)
    assert world.lists[ROMEO] == (5, number)
    world.lists[ROMEO] = (6,)
    await quiet(await start(ROMEO, like=romeo))
    assert world.lists[ROMEO] == (6, number)


async def test_a_list_that_still_has_us_is_left_alone(world, romeo):
    romeo.pep.inbox.put_nowait(OwnDevices((romeo.own_device.device_id, 7)))
    await quiet(romeo)
    assert world.published["list"] == 1


async def test_a_used_prekey_is_taken_out_of_the_published_bundle(world, romeo, juliet):
    number = (JULIET, juliet.own_device.device_id)
    before = world.bundles[number].pre_keys
    await transfer(romeo, juliet)
    assert len(before.keys() - world.bundles[number].pre_keys.keys()) == 1


async def test_an_old_signed_prekey_is_replaced_at_a_start(world, start, romeo, monkeypatch):
    number = (ROMEO, romeo.own_device.device_id)
    before = world.bundles[number].signed_pre_key
    monkeypatch.setattr(omemo_ratchet, "ROTATION_S", -1.0)
    await quiet(await start(ROMEO, like=romeo))
    assert world.bundles[number].signed_pre_key != before


async def test_closing_lets_an_answer_out(world, romeo, juliet):
    envelope, _ = await romeo.seal(SECRET, JULIET)
    await juliet.open(envelope, f"{ROMEO}/jet")
    await juliet.close()
    assert len(world.sent) == 1
