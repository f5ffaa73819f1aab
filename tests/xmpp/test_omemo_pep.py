"""OMEMO over a real server: nodes that are open to strangers, messages and carbons, and whole envelopes."""

import asyncio
import contextlib
import random

import aioxmpp
import aioxmpp.carbons.xso
import pytest

from jetcli.errors import UnsupportedError
from jetcli.protocol.device import Trust
from jetcli.protocol.model import Envelope, EnvelopeKey, TransportSecret
from jetcli.state.store import KeyValues, Store
from jetcli.state.trust import TrustBook
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.connection import Connection, Presence, new_resource
from jetcli.xmpp.omemo import Omemo
from jetcli.xmpp.omemo_payloads import NODE_DEVICES, DeviceList, Encrypted, PublicBundle
from jetcli.xmpp.omemo_pep import OmemoPep, OwnDevices, Received

KEYS = PublicBundle(
    bytes(32), bytes(range(32)), 7, bytes(64), {number: bytes([number] * 32) for number in range(1, 101)}
)
ENVELOPE = Envelope(5, b"twelve bytes", (EnvelopeKey(7, b"ratchet message", prekey=True),))
SECRET = TransportSecret(b"sixteen byte key", b"twelve bytes")


@pytest.fixture
async def online():
    """Bring an account online, its OMEMO stanzas at `.pep`."""
    async with contextlib.AsyncExitStack() as stack:

        async def connect(account) -> Connection:
            settings = AccountSettings(
                account.jid, account.password, server=account.address, ca_file=account.server.ca_file
            )
            connection = await Connection.open(
                settings,
                resource=new_resource(random.Random()),
                presence=Presence(),
                setup=lambda client: client.summon(OmemoPep),
            )
            await stack.enter_async_context(connection)
            connection.pep = connection.client.summon(OmemoPep)
            return connection

        yield connect


async def arrival(pep: OmemoPep, kind=Received):
    """Return the next arrival of a kind, within seconds."""
    async with asyncio.timeout(10):
        while True:
            found = await pep.inbox.get()
            pep.inbox.task_done()
            if isinstance(found, kind):
                return found


async def test_a_stranger_reads_what_we_publish(online, account):
    romeo, juliet = account("romeo"), account("juliet")
    ours, theirs = await online(romeo), await online(juliet)
    await ours.pep.publish_bundle(5, KEYS)
    await ours.pep.publish_device_list([5, 6])
    assert await theirs.pep.device_list(romeo.jid) == (5, 6)
    assert await theirs.pep.bundle(romeo.jid, 5) == KEYS


async def test_nodes_that_another_client_made_for_contacts_only_are_opened(online, account):
    romeo, juliet = account("romeo"), account("juliet")
    ours, theirs = await online(romeo), await online(juliet)
    pubsub = ours.client.summon(aioxmpp.PubSubClient)
    await pubsub.publish(None, NODE_DEVICES, DeviceList.from_ids([9]), id_="current")
    with pytest.raises(UnsupportedError, match="no OMEMO device"):
        await theirs.pep.device_list(romeo.jid)
    await ours.pep.publish_device_list([9, 5])
    assert await theirs.pep.device_list(romeo.jid) == (9, 5)


async def test_what_is_not_published_is_empty(online, account):
    juliet = account("juliet")
    romeo = account("romeo", contacts=[juliet])
    ours = await online(romeo)
    assert await ours.pep.device_list(romeo.jid) == ()
    assert await ours.pep.device_list(juliet.jid) == ()
    assert await ours.pep.bundle(juliet.jid, 5) is None


async def test_a_stranger_whose_server_says_nothing_has_no_device(online, account):
    ours = await online(account("romeo"))
    for stranger in (account("juliet").jid, "nobody@jet.test"):
        with pytest.raises(UnsupportedError, match=f"^{stranger} has published no OMEMO device$"):
            await ours.pep.device_list(stranger)
        assert await ours.pep.bundle(stranger, 5) is None


async def test_a_change_of_our_own_list_is_told(online, account):
    romeo = account("romeo")
    one, other = await online(romeo), await online(romeo)
    await other.pep.publish_device_list([5])
    assert await arrival(one.pep, OwnDevices) == OwnDevices((5,))


async def test_an_omemo_message_to_our_full_jid_arrives_at_negative_priority(online, account):
    romeo, juliet = account("romeo"), account("juliet")
    ours, theirs = await online(romeo), await online(juliet)
    await theirs.pep.send(ours.jid, ENVELOPE)
    assert await arrival(ours.pep) == Received(theirs.jid, ENVELOPE)


async def test_a_message_to_another_client_of_ours_arrives_as_a_carbon(online, account):
    romeo, juliet = account("romeo"), account("juliet")
    ours, twin, theirs = await online(romeo), await online(romeo), await online(juliet)
    await theirs.pep.send(twin.jid, ENVELOPE)
    assert await arrival(ours.pep) == Received(theirs.jid, ENVELOPE)
    await twin.pep.send(theirs.jid, ENVELOPE)
    assert await arrival(ours.pep) == Received(twin.jid, ENVELOPE)


async def test_a_forged_carbon_is_not_believed(online, account):
    romeo, juliet = account("romeo"), account("juliet")
    ours, theirs = await online(romeo), await online(juliet)
    inner = aioxmpp.Message(
        type_=aioxmpp.MessageType.CHAT, to=ours.client.local_jid, from_=aioxmpp.JID.fromstr("nurse@capulet.example/x")
    )
    inner.xep0384_encrypted = Encrypted.from_envelope(ENVELOPE)
    for wrapper in ("xep0280_received", "xep0280_sent"):
        forged = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=ours.client.local_jid)
        carbon = aioxmpp.carbons.xso.Received() if wrapper.endswith("received") else aioxmpp.carbons.xso.Sent()
        carbon.stanza = inner
        setattr(forged, wrapper, carbon)
        await theirs.client.send(forged)
    await theirs.pep.send(ours.jid, ENVELOPE)
    assert (await arrival(ours.pep)).sender == theirs.jid
    assert ours.pep.inbox.empty()


async def test_envelopes_pass_between_accounts_with_state_on_disk(online, account, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        jets = []
        for owner in (account("romeo"), account("juliet")):
            connection = await online(owner)
            store = stack.enter_context(Store.open(tmp_path / owner.jid))
            lock = asyncio.Lock()
            omemo = await Omemo.start(
                connection.client, KeyValues(store), TrustBook(store), lambda lock=lock: _held(lock)
            )
            stack.push_async_callback(omemo.close)
            jets.append((connection, omemo))
        prekeys = []
        for sender, receiver in [jets, jets[::-1]] * 2:
            (from_, sealing), (to, opening) = sender, receiver
            envelope, _ = await sealing.seal(SECRET, str(to.client.local_jid.bare()))
            prekeys.append(envelope.keys[0].prekey)
            opened = await opening.open(envelope, from_.jid)
            assert (opened.key_material, opened.device.trust) == (SECRET.key, Trust.BLIND)
            assert opened.device.identity_key == sealing.own_device.identity_key
            if prekeys[-1]:
                await _confirmed(sealing, receiver_jid=str(to.client.local_jid.bare()))
        assert prekeys == [True, False, False, False]


@contextlib.asynccontextmanager
async def _held(lock):
    async with lock:
        yield


async def _confirmed(sealing, receiver_jid):
    """Return when the answer to a key exchange has arrived and confirmed the session."""
    async with asyncio.timeout(10):
        prekey = True
        while prekey:
            envelope, _ = await sealing.seal(SECRET, receiver_jid)
            prekey = envelope.keys[0].prekey
