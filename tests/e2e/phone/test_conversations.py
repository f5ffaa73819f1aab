"""jet and a scripted Conversations, 2.12 and 2.13, both ways over every path."""

import asyncio
import contextlib
import os

import pytest

from jetcli.trial.server import free_ports
from jetcli.xmpp.socks5 import StreamHost, query_streamhost

pytestmark = pytest.mark.matrix

SIZE = 300_000
VERSIONS = pytest.mark.parametrize("version", [(2, 12), (2, 13)], ids=["2.12", "2.13"])


async def ended(process):
    await asyncio.to_thread(process.finished)
    return process


@VERSIONS
@pytest.mark.parametrize(("path", "way"), [("auto", "direct"), ("relay", "proxy"), ("ibb", "in-band")])
async def test_jet_sends_to_conversations(home, jet, phone, version, path, way):
    romeo = home("romeo")
    juliet = await phone(romeo, version)
    file = romeo.file("photo.jpg", SIZE)
    sending = jet(romeo, "send", "--path", path, file, juliet.jid.partition("/")[0])
    saved = await juliet.receive()
    await ended(sending)
    assert sending.code == 0, sending
    assert (saved.name, saved.way) == ("photo.jpg", way)
    assert saved.decrypted
    assert saved.tag_right
    assert saved.content == file.read_bytes()


@VERSIONS
@pytest.mark.parametrize(("path", "way"), [("auto", "direct"), ("relay", "proxy"), ("auto", "in-band")])
async def test_conversations_sends_to_jet(home, receiver, phone, version, path, way):
    romeo = home("romeo")
    juliet = await phone(romeo, version)
    receiving = receiver(romeo, "--path", path, ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    content, proxy = os.urandom(SIZE), None
    if way == "proxy":
        proxy = await query_streamhost(juliet._client, f"proxy.{jid.partition('/')[0].partition('@')[2]}")
    assert await juliet.send(jid, "photo.jpg", content, way=way, proxy=proxy) == way
    await ended(receiving)
    assert receiving.code == 0, receiving
    assert romeo.saved["photo.jpg"] == content


@VERSIONS
async def test_dead_candidates_without_a_proxy_end_in_band(home, receiver, phone, version):
    romeo = home("romeo", network=f'advertise = "127.0.0.1:1"\nlisten = {free_ports(1)[0]}')
    juliet = await phone(romeo, version)
    receiving = receiver(romeo, "--path", "ibb", ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    content = os.urandom(50_000)
    assert await juliet.send(jid, "photo.jpg", content, way="dead") == "in-band"
    await ended(receiving)
    assert receiving.code == 0, receiving
    assert romeo.saved["photo.jpg"] == content


async def test_dead_candidates_on_both_sides_lead_to_the_proxy(home, receiver, phone):
    romeo = home("romeo", network=f'advertise = "127.0.0.1:1"\nlisten = {free_ports(1)[0]}')
    juliet = await phone(romeo, (2, 13))
    receiving = receiver(romeo, ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    content = os.urandom(50_000)
    assert await juliet.send(jid, "photo.jpg", content, way="dead") == "proxy"
    await ended(receiving)
    assert receiving.code == 0, receiving
    assert romeo.saved["photo.jpg"] == content


async def test_conversations_takes_an_offer_with_another_security_name_for_a_plain_file(script):
    """The script itself is strict where Conversations is: without this, jet passing proves nothing."""
    content = script.payloads.Content()
    content.name = "one"
    content.security = script.payloads.Security()
    content.security.name, content.security.cipher = "another", script.CIPHER
    content.security.type_ = script.model.NS_OMEMO
    content.security.encrypted = script.Encrypted()
    strict = script.Conversations.__new__(script.Conversations)
    strict.version = (2, 13)
    assert await strict._opens("romeo@jet.test/x", content) == (b"", b"")


class HoldingProxy:
    """A SOCKS5 proxy that passes whole blocks on and keeps the rest until the sender closes, as Prosody's can.

    When one side closes, it closes both ways of both connections.
    """

    BLOCK = 4096

    def __init__(self) -> None:
        self.held = 0
        self._waiting: asyncio.Queue = asyncio.Queue()
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        request = await reader.readexactly(5)
        rest = await reader.readexactly(request[4] + 2)
        writer.write(b"\x05\x00\x00" + request[3:] + rest)
        if self._waiting.empty():
            self._waiting.put_nowait((reader, writer))
            return
        other_reader, other_writer = self._waiting.get_nowait()
        await asyncio.gather(self._pass_on(reader, other_writer), self._pass_on(other_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                kept += data
                whole = len(kept) // self.BLOCK * self.BLOCK
                writer.write(kept[:whole])
                kept = kept[whole:]
                self.held = max(self.held, len(kept))
            writer.write(kept)
            await writer.drain()
        writer.close()


@VERSIONS
async def test_a_tail_that_the_proxy_holds_back_is_freed_by_the_end_of_the_session(home, receiver, phone, version):
    romeo = home("romeo")
    juliet = await phone(romeo, version)
    proxy = HoldingProxy()
    server = await proxy.start()
    receiving = receiver(romeo, "--path", "relay", ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    address = StreamHost(f"proxy.{jid.partition('/')[0].partition('@')[2]}", "127.0.0.1", proxy.port)
    juliet.stand_in = True
    content = os.urandom(200_000)
    assert await juliet.send(jid, "photo.jpg", content, way="proxy", proxy=address) == "proxy"
    await ended(receiving)
    server.close()
    assert receiving.code == 0, receiving
    assert proxy.held > 0
    assert romeo.saved["photo.jpg"] == content


@pytest.mark.soak
async def test_in_band_numbers_that_do_not_start_again_after_65535_are_taken(home, receiver, phone):
    romeo = home("romeo")
    juliet = await phone(romeo)
    juliet.block, juliet.window = 16, 16
    receiving = receiver(romeo, ready=False)
    jid = await asyncio.to_thread(receiving.ready)
    content = os.urandom(65_600 * juliet.block)
    assert await juliet.send(jid, "photo.jpg", content, way="in-band") == "in-band"
    await asyncio.to_thread(receiving.finished, 60)
    assert juliet.last_number > 65_535
    assert receiving.code == 0, receiving
    assert romeo.saved["photo.jpg"] == content
