"""Requests for the rest of a file: only the peer, the device and the file of the record are served."""

import asyncio
import time

import pytest
from msgspec.structs import replace

from jetcli.files.source import Source
from jetcli.protocol import model
from jetcli.state.paths import Paths
from jetcli.state.store import Store
from jetcli.state.transfers import TransferRecord, Transfers
from jetcli.transfer.journal import recorded
from jetcli.xmpp.jingle_writer import write

pytestmark = pytest.mark.matrix

SOURCE = bytes(range(256)) * 400
SIZE = len(SOURCE)
FIRST = "the-first-session"


@pytest.fixture
def interrupted(target, tmp_path):
    """Record a transfer to somebody that broke: `await interrupted(peer, device_keys=...)`; returns its source."""
    path = tmp_path / "film.mkv"
    path.write_bytes(SOURCE)
    stores = []

    async def record(peer, *, inode=None, **changes):
        with Source.open(path) as source:
            identity = recorded(source.identity)._replace(**({"inode": inode} if inode else {}))
        values = {
            "id": "k3v9",
            "direction": "send",
            "first_sid": FIRST,
            "peer": peer.jid.partition("/")[0],
            "device_keys": peer.omemo.own_device.identity_key,
            "name": "film.mkv",
            "size": SIZE,
            "date": None,
            "media_type": None,
            "path": str(path),
            "chunked": True,
            "created": time.time(),
            "updated": time.time(),
            "source": identity,
        }
        directory = Paths(target.path / "config.toml", target.path / "state").account(target.jid)
        store = await asyncio.to_thread(Store.open, directory)
        stores.append(store)
        Transfers(store).save(TransferRecord(**values | changes))
        return path

    yield record
    for store in stores:
        Transfers(store).forget("k3v9")
        store.close()


@pytest.fixture
async def serving(receive):
    """A `jet receive` that answers requests beside what it is there for."""
    return await receive("--forever", "-v")


async def ask_for_the_rest(peer, to, *, transfer=FIRST, size=SIZE, offset=1000, cipher=model.Cipher.CHUNKED):
    """Send a request that is sound but for what the keywords say; return its session id."""
    offer = await peer.prepare(to, cipher, size, name="film.mkv", range=model.Range(offset))
    content = replace(offer.content, senders="responder", transfer=transfer)
    await peer.say(to, write(model.Initiate(offer.sid, content, peer.jid)))
    return offer.sid


async def refusal(peer) -> model.Reason:
    return (await peer.hears(model.Terminate)).reason


async def test_the_peer_of_a_transfer_is_served_from_its_offset(serving, jet_peer, interrupted):
    await interrupted(jet_peer)
    await ask_for_the_rest(jet_peer, serving.jid)
    accepted = (await jet_peer.hears(model.Accept)).content
    assert accepted.description.range == model.Range(1000)
    assert (accepted.senders, accepted.transfer, accepted.prove) == ("responder", FIRST, False)


async def test_a_source_that_cannot_be_vouched_for_needs_a_proof_that_is_right(serving, jet_peer, interrupted):
    await interrupted(jet_peer, inode=1)
    sid = await ask_for_the_rest(jet_peer, serving.jid)
    assert (await jet_peer.hears(model.Accept)).content.prove
    await jet_peer.answers(model.SessionInfo(sid, model.Prefix(1000, bytes(32))))
    assert await refusal(jet_peer) == model.Reason(
        "failed-application",
        "'film.mkv' has changed since its transfer began; it has to start again",
        model.SOURCE_CHANGED,
    )


@pytest.mark.parametrize("transfer", ["another", "The-First-Session", "x" * 64])
async def test_a_transfer_that_is_not_known_is_said_to_be_unknown(serving, jet_peer, interrupted, transfer):
    await interrupted(jet_peer)
    await ask_for_the_rest(jet_peer, serving.jid, transfer=transfer)
    assert (await refusal(jet_peer)).application == model.UNKNOWN_TRANSFER


async def test_a_third_person_learns_no_more_than_about_an_unknown_transfer(serving, jet_peer, peer, interrupted):
    await interrupted(jet_peer)
    await ask_for_the_rest(peer, serving.jid)
    assert await refusal(peer) == model.Reason("failed-application", None, model.UNKNOWN_TRANSFER)
    serving.process.wait_for("asked for a transfer or file that is not known here")


async def test_a_request_without_a_transfer_gets_no_file(serving, jet_peer, interrupted):
    await interrupted(jet_peer)
    await ask_for_the_rest(jet_peer, serving.jid, transfer=None)
    assert (await refusal(jet_peer)).application == "file-not-available"


async def test_another_device_of_the_peer_is_not_served(serving, jet_peer, interrupted):
    await interrupted(jet_peer, device_keys=bytes(32))
    await ask_for_the_rest(jet_peer, serving.jid)
    assert (await refusal(jet_peer)).condition == "security-error"


@pytest.mark.parametrize(
    "request_",
    [{"offset": SIZE + 1}, {"offset": 2**63}, {"cipher": model.Cipher.AES_128_GCM}, {"size": SIZE - 1}],
    ids=["behind-the-end", "far-behind-the-end", "a-plain-stream", "another-size"],
)
async def test_a_request_that_does_not_fit_the_file_is_refused(serving, jet_peer, interrupted, request_):
    await interrupted(jet_peer)
    await ask_for_the_rest(jet_peer, serving.jid, **request_)
    assert (await refusal(jet_peer)).condition == "failed-application"


async def test_a_changed_source_is_not_served(serving, jet_peer, interrupted):
    path = await interrupted(jet_peer)
    path.write_bytes(bytes(SIZE))
    await ask_for_the_rest(jet_peer, serving.jid)
    assert (await refusal(jet_peer)).application == model.SOURCE_CHANGED


async def test_who_misses_nothing_is_told_so_and_gets_nothing(serving, jet_peer, interrupted):
    await interrupted(jet_peer)
    await ask_for_the_rest(jet_peer, serving.jid, offset=SIZE)
    assert (await jet_peer.hears(model.Accept)).content.description.range == model.Range(SIZE)
    assert (await refusal(jet_peer)).condition == "success"


async def test_an_offer_to_continue_what_nobody_began_is_unknown(serving, jet_peer):
    offer = await jet_peer.prepare(serving.jid, model.Cipher.CHUNKED)
    content = replace(offer.content, transfer="never-begun")
    await jet_peer.say(serving.jid, write(model.Initiate(offer.sid, content, jet_peer.jid)))
    assert (await refusal(jet_peer)).application == model.UNKNOWN_TRANSFER
    serving.unharmed()
