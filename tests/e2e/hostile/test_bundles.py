"""Bundles that lie: about what they hold, about themselves, and on their way."""

import asyncio

import pytest
from msgspec.structs import replace

from jetcli.protocol import model
from jetcli.protocol.bundle import Member
from jetcli.protocol.model import Batch, Cipher
from jetcli.xmpp.jingle_writer import write


def stream(*names: str) -> bytes:
    return b"".join(Member(name, 4, 0).head() + b"data" for name in names)


async def bundle(peer, victim, data: bytes, count: int, *, of: int | None = None):
    """Offer `data` as a bundle of `count` files."""
    offer = await peer.prepare(victim.jid, Cipher.CHUNKED, size=len(data), range=None)
    offer.content = replace(offer.content, batch=Batch("b", 1, of or count), bundle=count)
    offer.__post_init__()
    return offer


async def test_names_that_leave_the_directory_are_refused_one_by_one(receive, jet_peer):
    victim = await receive()
    data = stream("../up", "/tmp/absolute", "..")
    offer = await (await bundle(jet_peer, victim, data, 3)).send()
    await offer.serve(offer.sealed(data))
    told = await jet_peer.hears(model.SessionInfo)
    assert [number for number, _ in told.note.refused] == [1, 2, 3]
    await asyncio.to_thread(victim.process.finished)
    victim.unharmed()
    assert victim.process.code == 15, victim.process


@pytest.mark.parametrize(
    ("data", "count", "line"),
    [
        (stream("a", "b"), 1, "more files than it announced"),
        (stream("a"), 1_000_000, "does not fit"),
        (stream("a"), 0, "does not fit"),
        (b"\xff" * 40, 1, "something that is no file"),
    ],
    ids=["surplus", "a million", "none", "no members"],
)
async def test_what_is_no_bundle_is_refused_with_one_line(receive, jet_peer, data, count, line):
    victim = await receive()
    offer = await (await bundle(jet_peer, victim, data, count)).send()
    if line.startswith("does"):
        await offer.end()
    else:
        await offer.serve(offer.sealed(data))
    await victim.ended(15, line)


async def test_a_bundle_that_is_withdrawn_while_it_is_looked_at_leaves_the_receiver_waiting(receive, jet_peer):
    victim = await receive()
    data = stream("a", "b")
    await (await bundle(jet_peer, victim, data, 2)).send_and_withdraw()
    victim.process.wait_for("withdrawn by the sender")
    second = await (await bundle(jet_peer, victim, data, 2)).send()
    await second.serve(second.sealed(data))
    await asyncio.to_thread(victim.process.finished)
    assert victim.process.code == 0, victim.process


async def test_a_file_that_a_server_turns_into_a_bundle_is_not_opened(receive, jet_peer):
    victim = await receive()
    data = stream("a", "b")
    offer = await jet_peer.prepare(victim.jid, Cipher.CHUNKED, size=len(data), range=None)
    offer.jingle = write(
        model.Initiate(offer.sid, replace(offer.content, batch=Batch("b", 1, 2), bundle=2), jet_peer.jid)
    )
    await offer.send()
    await offer.serve(offer.sealed(data))
    await victim.ended(12, "was altered on the way")


async def test_a_bundle_that_a_server_turns_into_a_file_is_not_opened(receive, jet_peer):
    victim = await receive()
    data = stream("a")
    offer = await bundle(jet_peer, victim, data, 1)
    offer.jingle.contents[0].bundle = None
    await offer.send()
    await offer.serve(offer.sealed(data))
    await victim.ended(12, "was altered on the way")


async def test_a_bundle_under_a_plain_cipher_is_refused(receive, peer):
    victim = await receive()
    offer = await peer.prepare(victim.jid)
    offer.content = replace(offer.content, batch=Batch("b", 1, 2), bundle=2)
    offer.__post_init__()
    await offer.send()
    await victim.ended(15, "a bundle where none can be")
