"""What people who are no contacts can make our OMEMO device do: little, and nobody else has to wait for it."""

import asyncio
import hashlib
import hmac
import json

import pytest
from doubleratchet.symmetric_key_ratchet import SymmetricKeyRatchet
from omemos import JULIET, LONG_SECRET, MALLORY, ROMEO, SECRET, quiet

from jetcli.errors import TrustError
from jetcli.protocol.model import Envelope, EnvelopeKey
from jetcli.xmpp import omemo_device, omemo_ratchet, omemo_strangers
from jetcli.xmpp.omemo_lanes import PEER_BURST, STRANGERS_BURST
from jetcli.xmpp.omemo_pep import Received
from jetcli.xmpp.omemo_ratchet import MAX_SKIPPED_OF_STRANGERS, MAX_TRIED
from jetcli.xmpp.omemo_strangers import MAX_STRANGE_DEVICES

CROWD = [f"stranger{n}@evil.example" for n in range(50)]


@pytest.fixture
def steps(monkeypatch):
    """Count the steps of receiving chains."""
    made = []
    step = SymmetricKeyRatchet.next_decryption_key

    async def counted(self):
        made.append(None)
        return await step(self)

    monkeypatch.setattr(SymmetricKeyRatchet, "next_decryption_key", counted)
    return made


@pytest.fixture
async def careful(start):
    """Return a jet of Juliet, who has one contact: Romeo."""
    return await start(JULIET, is_close=lambda jid: jid == ROMEO)


async def skipping(jet, receiver, count):
    """Seal an envelope after `count` others that nobody gets; they are sealed in no time."""
    await jet.seal(SECRET, receiver.jid)
    [name] = [name for name in jet.memory if name.endswith(f"/{receiver.own_device.device_id}/double_ratchet")]
    session = json.loads(jet.memory[name])
    chain = session["diffie_hellman_ratchet"]["symmetric_key_ratchet"]["sending_chain"]
    for _ in range(count - 1):
        chain["key"] = hmac.digest(chain["key"].encode("latin-1"), b"\2", hashlib.sha256).decode("latin-1")
    chain["length"] += count - 1
    jet.memory[name] = json.dumps(session)
    envelope, _ = await jet.seal(SECRET, receiver.jid)
    return envelope


def arrives(jet, sender, envelope):
    jet.pep.inbox.put_nowait(Received(f"{sender}/phone", envelope))


def stored(jet):
    return sum(len(name) + len(text) for name, text in jet.memory.items())


def known(jet, sender):
    return any(name.startswith(f"/jet/identity/{sender}/") for name in jet.memory)


def has_session(jet, sender):
    return any(f"/{sender}/" in name and name.endswith("/double_ratchet") for name in jet.memory)


# The work for strangers


async def test_a_crowd_of_strangers_costs_few_steps_and_little_storage(world, start, careful, steps):
    envelopes = {}
    for number, name in enumerate(CROWD):
        skipped = MAX_SKIPPED_OF_STRANGERS if number % 2 else 9_999
        envelopes[name] = await skipping(await start(name), careful, skipped)
    world.lose = True
    before = stored(careful)
    steps.clear()
    for name, envelope in envelopes.items():
        arrives(careful, name, envelope)
    await quiet(careful)
    assert len(steps) <= STRANGERS_BURST * (MAX_SKIPPED_OF_STRANGERS + 1)
    assert stored(careful) - before < STRANGERS_BURST * 100_000


async def test_a_contact_may_be_heard_of_again_after_thousands_of_messages(start, romeo, careful):
    arrives(careful, ROMEO, await skipping(romeo, careful, 9_999))
    await quiet(romeo, careful)
    assert not (await romeo.seal(SECRET, JULIET))[0].keys[0].prekey, "it was answered"


async def test_a_message_is_tried_with_few_of_its_keys(world, romeo, careful, steps):
    far = await skipping(romeo, careful, 200)
    forged = EnvelopeKey(far.keys[0].device, far.keys[0].data[:-1] + b"\0", prekey=True)
    arrives(careful, ROMEO, Envelope(far.sender, far.iv, (forged,) * 1000))
    world.lose = True
    await quiet(careful)
    assert len(steps) <= MAX_TRIED * 201


async def test_one_stranger_does_not_use_up_what_all_may_send(start, careful):
    mallory, stranger = await start(MALLORY), await start(CROWD[0])
    for _ in range(5 * PEER_BURST):
        envelope, _ = await mallory.seal(SECRET, JULIET)
        arrives(careful, MALLORY, envelope)
    arrives(careful, CROWD[0], (await stranger.seal(SECRET, JULIET))[0])
    await quiet(mallory, stranger, careful)
    assert not (await stranger.seal(SECRET, JULIET))[0].keys[0].prekey, "it was answered"


async def test_a_stranger_who_is_let_in_can_offer_whatever_the_others_sent(world, start, careful):
    for name in CROWD[: STRANGERS_BURST + 5]:
        arrives(careful, name, (await (await start(name)).seal(SECRET, JULIET))[0])
    stranger = await start("honest@verona.example")
    envelope, _ = await stranger.seal(LONG_SECRET, JULIET)
    assert (await careful.open(envelope, f"{stranger.jid}/jet")).key_material == LONG_SECRET.key
    await quiet(stranger, careful)
    envelope, _ = await stranger.seal(SECRET, JULIET)
    assert (await careful.open(envelope, f"{stranger.jid}/jet")).key_material == SECRET.key


async def test_a_strangers_offer_after_too_many_unseen_messages_opens_when_it_is_repeated(start, careful):
    stranger = await start(MALLORY)
    far = await skipping(stranger, careful, MAX_SKIPPED_OF_STRANGERS + 1)
    with pytest.raises(TrustError, match="could not be opened"):
        await careful.open(far, f"{MALLORY}/jet")
    await quiet(stranger, careful)
    envelope, _ = await stranger.seal(SECRET, JULIET)
    assert (await careful.open(envelope, f"{MALLORY}/jet")).key_material == SECRET.key


# Nobody waits for another's server


@pytest.mark.parametrize("silent", [MALLORY, "nurse@capulet.example"])
async def test_a_server_that_never_answers_holds_up_nobody_else(world, start, romeo, eventually, silent):
    juliet = await start(JULIET, is_close=lambda jid: jid != MALLORY)
    asked, ask = asyncio.Event(), juliet.pep.device_list

    async def device_list(bare_jid):
        if bare_jid == silent:
            asked.set()
            await asyncio.Event().wait()
        return await ask(bare_jid)

    juliet.pep.device_list = device_list
    sender = await start(silent)
    arrives(juliet, silent, (await sender.seal(SECRET, JULIET))[0])
    await asked.wait()
    arrives(juliet, ROMEO, (await romeo.seal(SECRET, JULIET))[0])
    await eventually(lambda: has_session(juliet, ROMEO))
    assert not has_session(juliet, silent)


async def test_a_stranger_whose_server_does_not_answer_in_time_is_given_up(world, start, careful, monkeypatch):
    monkeypatch.setattr(omemo_device, "STRANGER_S", 0.01)
    stranger = await start(MALLORY)
    ask = careful.pep.device_list

    async def silent(_bare_jid):
        await asyncio.Event().wait()

    careful.pep.device_list = silent
    arrives(careful, MALLORY, (await stranger.seal(SECRET, JULIET))[0])
    await quiet(careful)
    assert not known(careful, MALLORY)
    careful.pep.device_list = ask
    arrives(careful, MALLORY, (await stranger.seal(SECRET, JULIET))[0])
    monkeypatch.undo()
    await quiet(careful)
    assert has_session(careful, MALLORY)


async def test_sealing_does_not_wait_for_strangers(start, romeo, careful, monkeypatch):
    stranger = await start(MALLORY)
    waiting, ask = asyncio.Event(), careful.pep.device_list

    async def device_list(bare_jid):
        if bare_jid == MALLORY:
            await waiting.wait()
        return await ask(bare_jid)

    careful.pep.device_list = device_list
    monkeypatch.setattr(omemo_device, "SETTLE_S", None)
    arrives(careful, MALLORY, (await stranger.seal(SECRET, JULIET))[0])
    async with asyncio.timeout(20):
        await careful.seal(SECRET, ROMEO)
    assert not has_session(careful, MALLORY)
    waiting.set()
    await quiet(stranger, careful)
    assert has_session(careful, MALLORY)
    monkeypatch.undo()


# What is kept


async def test_of_many_strangers_those_unheard_of_for_longest_are_forgotten(start, careful, monkeypatch):
    monkeypatch.setattr(omemo_strangers, "MAX_STRANGE_DEVICES", 3)
    jets = [await start(name) for name in CROWD[:5]]
    for jet in [*jets[:3], jets[0], *jets[3:]]:
        arrives(careful, jet.jid, (await jet.seal(SECRET, JULIET))[0])
        await quiet(jet, careful)
    kept = [CROWD[0], *CROWD[3:5]]
    assert [name for name in CROWD if known(careful, name)] == kept
    assert [name for name in CROWD if has_session(careful, name)] == kept
    assert MAX_STRANGE_DEVICES == 50


async def test_one_stranger_with_many_devices_keeps_no_more_than_all_may(start, careful, monkeypatch):
    monkeypatch.setattr(omemo_strangers, "MAX_STRANGE_DEVICES", 3)
    for _ in range(5):
        device = await start(MALLORY)
        arrives(careful, MALLORY, (await device.seal(SECRET, JULIET))[0])
        await quiet(device, careful)
        assert len([name for name in careful.memory if name.startswith(f"/jet/identity/{MALLORY}/")]) <= 3
    assert has_session(careful, MALLORY)


async def test_whoever_became_known_meanwhile_is_not_forgotten(start, monkeypatch):
    monkeypatch.setattr(omemo_strangers, "MAX_STRANGE_DEVICES", 2)
    contacts = set()
    juliet = await start(JULIET, is_close=contacts.__contains__)
    for name in CROWD[:5]:
        stranger = await start(name)
        arrives(juliet, name, (await stranger.seal(SECRET, JULIET))[0])
        await quiet(stranger, juliet)
        if name is CROWD[0]:
            contacts.add(name)
        if name is CROWD[1]:
            await juliet.open((await stranger.seal(SECRET, JULIET))[0], f"{name}/jet")
    assert [name for name in CROWD if has_session(juliet, name)] == CROWD[:2] + CROWD[3:5]


async def test_broken_sessions_are_mended_however_many_there_were_before(world, start, careful, monkeypatch):
    monkeypatch.setattr(omemo_device, "MAX_REPLACED", 2)
    monkeypatch.setattr(omemo_ratchet, "MAX_SKIPPED_OF_STRANGERS", 10)
    world.lose = True
    for name in CROWD[:4]:
        stranger = await start(name)
        broken = EnvelopeKey(careful.own_device.device_id, b"3" * 60)
        for _ in range(2):
            arrives(careful, name, Envelope(stranger.own_device.device_id, SECRET.iv, (broken,)))
        await quiet(careful)
    assert [to for to, _ in world.sent] == [f"{name}/phone" for name in CROWD[:4]]
