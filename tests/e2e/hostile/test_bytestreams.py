"""Bytestreams that end too early, too late or wrong: nothing that was not verified is ever saved."""

import asyncio
import random
import stat

import pytest

from jetcli.protocol import model
from jetcli.protocol.model import Cipher

BOTH_CIPHERS = pytest.mark.parametrize("cipher", [Cipher.AES_128_GCM, Cipher.CHUNKED])

#: Of a slow one, of one that is no SOCKS5 client, and of one that asks for another bytestream.
GREETINGS = (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x05\x01\x00\x05\x01\x00\x03\x28" + b"0" * 40 + b"\x00\x00")


@pytest.fixture
def sender(peer, jet_peer):
    """The peer that speaks a cipher."""
    return lambda cipher: jet_peer if cipher is Cipher.CHUNKED else peer


def flipped(wire: bytearray, position: int) -> bytearray:
    wire[position] ^= 1
    return wire


@BOTH_CIPHERS
async def test_a_stream_one_byte_short_is_interrupted(victim, sender, cipher):
    offer = await (await sender(cipher).prepare(victim.jid, cipher)).send()
    await offer.serve(offer.sealed()[:-1])
    await victim.ended(10, "connection lost after 4,999 of 5,000 bytes", parts=cipher is Cipher.CHUNKED)


async def test_an_unverified_part_is_kept_where_the_user_says_so(receive, peer):
    victim = await receive("--keep-partial")
    content = random.Random(1).randbytes(5_000)
    offer = await (await peer.prepare(victim.jid, size=len(content))).send()
    await offer.serve(offer.sealed(content)[:-1])
    await victim.ended(10, "connection lost after 4,999 of 5,000 bytes", parts=True)
    [part] = victim.inbox.iterdir()
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert part.stat().st_size > 0
    assert content.startswith(part.read_bytes())


@BOTH_CIPHERS
async def test_a_stream_one_byte_too_long_breaks_the_protocol(victim, sender, cipher):
    offer = await (await sender(cipher).prepare(victim.jid, cipher)).send()
    await offer.serve(offer.sealed() + b"!")
    await victim.ended(15, "the peer sent more than it announced", parts=cipher is Cipher.CHUNKED)
    assert (await offer.end()).condition == "media-error"


@BOTH_CIPHERS
@pytest.mark.parametrize("position", [0, -1])
async def test_a_flipped_bit_is_an_alteration(victim, sender, cipher, position):
    offer = await (await sender(cipher).prepare(victim.jid, cipher)).send()
    await offer.serve(flipped(offer.sealed(), position))
    await victim.ended(12, "'report.pdf' was altered on the way; nothing was saved")
    assert (await offer.end()).condition == "security-error"


async def test_an_endless_stream_is_cut_off(victim, peer):
    offer = await (await peer.prepare(victim.jid)).send()
    await offer.serve(offer.sealed() + bytes(8_000_000))
    await victim.ended(15, "the peer sent more than it announced")


@pytest.mark.parametrize(
    "hashes",
    [(model.Hash("sha-256", bytes(32)),), (model.Hash("sha-1", bytes(20)), model.Hash("sha-256", b"short"))],
)
async def test_a_checksum_that_differs_is_an_alteration_though_the_tag_is_right(victim, peer, hashes):
    offer = await (await peer.prepare(victim.jid, hash_used="sha-256")).send()
    await offer.serve(offer.sealed())
    await offer.inform(model.SessionInfo(offer.sid, model.Checksum(hashes), "initiator", "a-file"))
    await victim.ended(12, "'report.pdf' does not match the announced checksum; nothing was saved")


async def test_an_empty_stream_for_an_empty_file_lacks_its_tag(victim, peer):
    offer = await (await peer.prepare(victim.jid, size=0)).send()
    await offer.serve(b"")
    await victim.ended(10, "connection lost after 0 of 0 bytes")


async def test_strangers_at_our_listener_do_not_get_in_the_way(receive, peer):
    victim = await receive()
    offer = await (await peer.prepare(victim.jid)).send()
    accepted = await peer.hears(model.Accept)
    rogues = []
    for candidate in accepted.content.transport.candidates:
        if candidate.host == "127.0.0.1":
            for greeting in (
                b"",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x05\x01\x00\x05\x01\x00\x03\x28" + b"0" * 40 + b"\x00\x00",
            ):
                _, writer = await asyncio.open_connection(candidate.host, candidate.port)
                writer.write(greeting)
                rogues.append(writer)
    assert rogues
    peer.heard.put_nowait(accepted)
    await offer.serve(offer.sealed())
    assert (await offer.end()).condition == "success"
    for writer in rogues:
        writer.close()
