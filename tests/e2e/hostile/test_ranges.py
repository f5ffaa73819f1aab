"""Ranges of a shared file under the standard ciphers, as XEP-0391 section 4.3 has them: these bytes and no others."""

import asyncio

import pytest
from msgspec.structs import replace

from jetcli.protocol import model
from jetcli.protocol.cipher import PlainOpener
from jetcli.xmpp.jingle_writer import write

pytestmark = pytest.mark.matrix

CONTENT = bytes(range(256)) * 40
PLAIN = [model.Cipher.AES_128_GCM, model.Cipher.AES_256_GCM]


@pytest.fixture
async def sharing(jet, target):
    """A `jet share` of one file; returns its process and its full JID."""
    path = target.files / "shared.bin"
    path.write_bytes(CONTENT)

    def begin():
        process = jet(target, "share", path, "-v")
        return process, process.wait_for(r"Sharing as (\S+)")[1]

    yield await asyncio.to_thread(begin)
    path.unlink()


async def request(peer, to, cipher, *, range_=None, name="shared.bin"):
    """Ask for a range of the file by its name, under a secret of our own."""
    offer = await peer.prepare(to, cipher, None, name=name, range=range_)
    offer.content = replace(offer.content, senders="responder")
    await peer.say(to, write(model.Initiate(offer.sid, offer.content, peer.jid)))
    return offer


async def received(offer) -> bytes:
    """Take what is sent, and end the session with success."""
    await offer.peer.hears(model.Accept)
    sid = offer.content.transport.sid
    await offer.inform(model.TransportInfo(offer.sid, "initiator", "a-file", None, sid, model.CandidateError()))
    channel = await offer.listener.connected(20)

    def read() -> bytes:
        wire, buffer = bytearray(), memoryview(bytearray(65_536))
        while count := channel.recv_into(buffer):
            wire += buffer[:count]
        return bytes(wire)

    wire = await asyncio.to_thread(read)
    await offer.inform(model.Terminate(offer.sid, model.Reason("success")))
    channel.close()
    opener = PlainOpener(offer.secret, len(wire) - model.TAG_SIZE)
    content = bytearray(len(wire))
    length = opener.update_into(wire, memoryview(content))
    opener.finish()
    return bytes(content[:length])


@pytest.mark.parametrize("cipher", PLAIN, ids=["aes-128", "aes-256"])
@pytest.mark.parametrize(
    ("range_", "bytes_meant"),
    [
        (None, CONTENT),
        (model.Range(), CONTENT),
        (model.Range(1000), CONTENT[1000:]),
        (model.Range(1000, 500), CONTENT[1000:1500]),
        (model.Range(0, 1), CONTENT[:1]),
        (model.Range(len(CONTENT) - 1), CONTENT[-1:]),
    ],
    ids=["no-range", "all", "the-rest", "the-middle", "the-first-byte", "the-last-byte"],
)
async def test_a_range_is_these_bytes_under_a_tag_of_their_own(sharing, peer, cipher, range_, bytes_meant):
    _, jid = sharing
    assert await received(await request(peer, jid, cipher, range_=range_)) == bytes_meant


@pytest.mark.parametrize(
    "range_",
    [model.Range(len(CONTENT) + 1), model.Range(2**62), model.Range(len(CONTENT) - 10, 11), model.Range(1, 2**62)],
    ids=["behind-the-end", "far-behind-the-end", "beyond-the-end", "far-beyond-the-end"],
)
async def test_a_range_outside_the_file_is_refused_and_nothing_is_sent(sharing, peer, range_):
    process, jid = sharing
    offer = await request(peer, jid, model.Cipher.AES_128_GCM, range_=range_)
    reason = await offer.end()
    assert reason.condition == "failed-application", reason
    await asyncio.to_thread(process.wait_for, "was refused: .*range")


async def test_a_range_of_what_is_not_shared_has_the_answer_of_every_other_file(sharing, peer):
    _, jid = sharing
    offer = await request(peer, jid, model.Cipher.AES_128_GCM, range_=model.Range(5), name="other.bin")
    assert await offer.end() == model.Reason("failed-application", None, "file-not-available")
