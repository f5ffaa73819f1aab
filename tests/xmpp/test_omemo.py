"""Envelopes between accounts over a PEP in memory: who is sealed for, who is believed, and how the ratchet lives on."""

import asyncio
import base64
import contextlib
import contextvars
import dataclasses
import logging
from collections import Counter, defaultdict

import pytest

from jetcli.errors import RemoteProtocolError, TrustError, UnavailableError, UnsupportedError
from jetcli.protocol.device import Trust
from jetcli.protocol.model import Envelope, EnvelopeKey, TransportSecret
from jetcli.xmpp import omemo_ratchet
from jetcli.xmpp.omemo import Omemo, fingerprint
from jetcli.xmpp.omemo_payloads import Encrypted
from jetcli.xmpp.omemo_pep import OwnDevices, Received

ROMEO, JULIET, MALLORY = "romeo@montague.example", "juliet@capulet.example", "mallory@evil.example"
SECRET = TransportSecret(b"sixteen byte key", b"twelve bytes")
LONG_SECRET = TransportSecret(b"a key of all of thirty-two bytes", b"other twelve")


class World:
    """The servers: what is published, who is online, and which messages get lost."""

    def __init__(self):
        self.lists = {}
        self.bundles = {}
        self.online = defaultdict(list)
        self.sent = []
        self.asked = []
        self.published = Counter()
        self.lose = False
        self.down = False


class Pep:
    """One client's access to the world; insists that nobody waits for the network in the middle of an operation."""

    def __init__(self, world, jid, memory):
        self.world, self.jid, self.memory = world, jid, memory
        self.inbox = asyncio.Queue()
        world.online[jid].append(self)

    async def _round_trip(self, *, locked=False):
        assert not self.memory.in_transaction
        assert locked or not _holding.get()
        if self.world.down:
            raise UnavailableError("no answer")
        await asyncio.sleep(0)

    async def device_list(self, bare_jid):
        await self._round_trip(locked=bare_jid == self.jid)
        return self.world.lists.get(bare_jid, ())

    async def bundle(self, bare_jid, device_id):
        await self._round_trip()
        self.world.asked.append((bare_jid, device_id))
        return self.world.bundles.get((bare_jid, device_id))

    async def publish_device_list(self, ids):
        await self._round_trip(locked=True)
        self.world.published["list"] += 1
        self.world.lists[self.jid] = tuple(ids)

    async def publish_bundle(self, device_id, keys):
        await self._round_trip(locked=True)
        self.world.published["bundle"] += 1
        self.world.bundles[self.jid, device_id] = keys

    async def send(self, to, envelope):
        await self._round_trip()
        self.world.sent.append((to, envelope))
        if self.world.lose:
            return
        for pep in self.world.online[to.partition("/")[0]]:
            pep.inbox.put_nowait(Received(f"{self.jid}/jet", Encrypted.from_envelope(envelope).envelope()))


#: Whether this task, or the one that started it, holds its account's lock.
_holding = contextvars.ContextVar("holding", default=False)


class Lock:
    """The lock of an account between its processes."""

    def __init__(self):
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def __call__(self):
        async with self._lock:
            _holding.set(True)
            try:
                yield
            finally:
                _holding.set(False)


@dataclasses.dataclass
class Judgement:
    trust: Trust
    first_time: bool
    stops: bool = False


class Book:
    """Blind trust; tests write what the user decided."""

    def __init__(self):
        self.levels = {}

    def judge(self, jid, identity_key, *, own_account, now):
        assert now == 1000.0
        first = (jid, identity_key) not in self.levels
        level = self.levels.setdefault((jid, identity_key), Trust.UNDECIDED if own_account else Trust.BLIND)
        return Judgement(level, first)

    def level(self, jid, identity_key):
        return self.levels.get((jid, identity_key))


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def start(world, new_memory):
    """Start a jet: `start(ROMEO)`; `start(ROMEO, like=other)` shares the other's state, as a second process does."""
    running = []

    async def begin(jid, *, like=None):
        memory = like.memory if like else new_memory()
        book = like.book if like else Book()
        lock = like.lock if like else Lock()
        pep = Pep(world, jid, memory)
        jet = await Omemo.begin(pep, jid, memory, book, lock, now=lambda: 1000.0)
        jet.memory, jet.book, jet.lock, jet.pep, jet.jid = memory, book, lock, pep, jid
        jet.met = []
        jet.on_new_device = jet.met.append
        running.append(jet)
        return jet

    yield begin
    for jet in running:
        await jet.close()


@pytest.fixture
async def romeo(start):
    return await start(ROMEO)


@pytest.fixture
async def juliet(start):
    return await start(JULIET)


async def quiet(*jets):
    """Return when nothing is under way between `jets` any more."""
    while any(jet._device._tasks or jet.pep.inbox._unfinished_tasks for jet in jets):
        for jet in jets:
            await asyncio.gather(*jet._device._tasks)
            await jet.pep.inbox.join()
        await asyncio.sleep(0)


async def transfer(sender, receiver, secret=SECRET):
    envelope, _ = await sender.seal(secret, receiver.jid)
    opened = await receiver.open(envelope, f"{sender.jid}/jet")
    await quiet(sender, receiver)
    return opened


async def test_the_receiver_gets_the_key_and_iv_and_learns_who_sealed_it(romeo, juliet):
    envelope, devices = await romeo.seal(SECRET, JULIET)
    opened = await juliet.open(envelope, f"{ROMEO}/balcony")
    assert (opened.key_material, opened.iv) == (SECRET.key, SECRET.iv)
    assert opened.device == dataclasses.replace(romeo.own_device, trust=Trust.BLIND)
    assert devices == (dataclasses.replace(juliet.own_device, trust=Trust.BLIND),)


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
    assert device == dataclasses.replace(juliet.own_device, trust=Trust.UNDECIDED)
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
