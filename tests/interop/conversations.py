"""A scripted peer that behaves as Conversations does, which cannot run here: 2.13 and later, and 2.12 before.

Written from what its source does, with its strictness and its faults: it demands `security@name` and the cipher's URI
without `:0` (2.13) and takes everything else for an unencrypted file; it uses key material at whatever length it comes;
it dials one candidate after the other, three seconds each; it never closes a socket first; its checksum is over
ciphertext and tag; its in-band numbers do not start again, and 2.13 sends no `<close/>`. The XML is made by jet's
payload classes; what is said, and when, is decided here.
"""

import asyncio
import base64
import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scripted import WAIT_S, GaveUpError, Scripted, how_it_ends

from jetcli.protocol import model
from jetcli.protocol.bytestream import dst_addr
from jetcli.xmpp import payloads
from jetcli.xmpp.ask import ask
from jetcli.xmpp.inband import Close, Data, Open
from jetcli.xmpp.listener import Listener
from jetcli.xmpp.omemo_payloads import Encrypted

CIPHER = "urn:xmpp:ciphers:aes-128-gcm-nopadding"


@dataclass(frozen=True)
class Saved:
    """What it would show as received: `decrypted` says whether it knew the file to be encrypted."""

    name: str
    content: bytes
    decrypted: bool
    tag_right: bool
    way: str


class Conversations(Scripted):
    """One running client; `version` is (2, 12) or (2, 13)."""

    # Receiving.

    async def receive(self) -> Saved:
        """Take one offer and return what would be saved."""
        sender, offer = await self._hears("session-initiate")
        [content] = offer.contents
        file = content.description.file
        if not file.name or not file.size:
            await self._ends(sender, offer.sid, "failed-application")
            raise GaveUpError("no name or no size")
        key, iv = await self._opens(sender, content)
        size = int(file.size) + (16 if key else 0)
        channel, way = await self._accepts(sender, offer.sid, content)
        if self.writes_back:
            await asyncio.to_thread(channel.sendall, memoryview(bytes(self.writes_back)))
        wire = await self._reads(channel, size)
        if not isinstance(channel, str) and not self.stand_in:
            self.end = await asyncio.to_thread(how_it_ends, channel)
        decrypted, right = self._decrypts(key, iv, wire)
        await self._says(sender, offer.sid, "session-info", self._received(content.name))
        await self._ends(sender, offer.sid, "success")
        return Saved(file.name, decrypted, bool(key), right, way)

    async def _opens(self, sender: str, content: payloads.Content) -> tuple[bytes, bytes]:
        """Return key and IV; nothing where it takes the offer for an unencrypted one."""
        security = content.security
        if security is None or security.type_ != model.NS_OMEMO or security.encrypted is None:
            return b"", b""
        if self.version >= (2, 13) and (security.name != content.name or security.cipher != CIPHER):
            return b"", b""
        opened = await self._omemo.open(security.encrypted.envelope(), sender)
        return opened.key_material, opened.iv

    def _decrypts(self, key: bytes, iv: bytes, wire: bytes) -> tuple[bytes, bool]:
        if not key:
            return wire, False
        try:
            return AESGCM(key).decrypt(iv, wire, None), True
        except InvalidTag:
            return b"", False

    @staticmethod
    def _received(name: str) -> Callable[[payloads.Jingle], None]:
        def fill(jingle: payloads.Jingle) -> None:
            jingle.received = payloads.Received()
            jingle.received.name = name  # and no creator

        return fill

    async def _accepts(self, sender: str, sid: str, content: payloads.Content) -> tuple[object, str]:
        """Accept, and return the stream and how it came about."""
        offered = content.transport
        if isinstance(offered, payloads.InbandTransport):
            await self._accept_with(sender, sid, content, self._inband(offered.sid, int(offered.block_size)))
            return offered.sid, "in-band"
        listener = Listener.at(["127.0.0.1"], accepted=[dst_addr(offered.sid, self.jid, sender)])
        ours = payloads.Socks5Transport()
        ours.sid = offered.sid
        ours.candidates.append(self._candidate("direct", "127.0.0.1", listener.port, self.jid, 8_257_536))
        if self.hasty:
            await self._answers(sender, sid, content, offered, None)
        await self._accept_with(sender, sid, content, ours)
        stream = await self._agrees(sender, sid, content, offered, ours, listener, initiator=False)
        if stream is not None:
            return stream
        # Only as responder, and only after the acceptance.
        _, replaced = await self._hears("transport-replace")
        wanted = replaced.contents[0].transport
        inband = self._inband(wanted.sid, int(wanted.block_size))
        await self._says_transport(sender, sid, content, "transport-accept", inband)
        return wanted.sid, "in-band"

    async def _accept_with(self, sender: str, sid: str, content: payloads.Content, transport) -> None:
        def fill(jingle: payloads.Jingle) -> None:
            element = payloads.Content()
            element.creator, element.name, element.senders = content.creator, content.name, content.senders
            element.description, element.transport = content.description, transport
            jingle.contents.append(element)

        await self._says(sender, sid, "session-accept", fill)

    # Sending.

    async def send(self, to: str, name: str, content: bytes, *, way: str = "direct", proxy=None) -> str:
        """Send a file to a full JID and return the way that it took; raise GaveUpError where that did not succeed."""
        sid, content_name, transport_sid = secrets.token_hex(8), str(uuid.uuid4()), secrets.token_hex(8)
        key, iv = secrets.token_bytes(16), secrets.token_bytes(12)
        wire = AESGCM(key).encrypt(iv, content, None)
        listener = Listener.at(["127.0.0.1"], accepted=[dst_addr(transport_sid, self.jid, to)])
        ours = self._offered_transport(transport_sid, way, listener.port, proxy)
        offer = payloads.Content()
        offer.creator, offer.name, offer.senders = "initiator", content_name, "initiator"
        offer.description = payloads.Description()
        file = offer.description.file = payloads.File()
        file.name, file.size, file.camel_media_type = name, str(len(content)), "application/octet-stream"
        envelope, _ = await self._omemo.seal(model.TransportSecret(key, iv), to.partition("/")[0])
        offer.security = payloads.Security()
        offer.security.name, offer.security.cipher, offer.security.type_ = content_name, CIPHER, model.NS_OMEMO
        offer.security.encrypted = Encrypted.from_envelope(envelope)
        offer.transport = ours
        await self._says(to, sid, "session-initiate", lambda jingle: jingle.contents.append(offer))
        _, accepted = await self._hears("session-accept")
        stream, taken = await self._connects(to, sid, offer, accepted.contents[0].transport, listener)
        if taken == "in-band":
            await self._writes_in_band(to, stream, wire)
        else:
            await asyncio.to_thread(stream.sendall, memoryview(wire))  # and the socket stays as it is
        await self._says(to, sid, "session-info", self._checksum(content_name, wire))
        _, ended = await self._hears("session-terminate")
        if taken != "in-band":
            stream.close()
        if not any(str(child.tag).endswith("}success") for child in ended.reason.rest):
            raise GaveUpError([str(child.tag) for child in ended.reason.rest])
        return taken

    def _offered_transport(self, sid: str, way: str, port: int, proxy):
        if way == "in-band":
            return self._inband(sid, self.block)
        transport = payloads.Socks5Transport()
        transport.sid, transport.mode = sid, "tcp"  # and no dstaddr
        if way == "dead":
            transport.candidates.extend(
                self._candidate("direct", "127.0.0.1", 1024 + rank, self.jid, 8_257_536 + rank) for rank in range(3)
            )
        elif way == "proxy":
            transport.candidates.append(self._candidate("proxy", proxy.host, proxy.port, proxy.jid, 655_360))
        else:
            transport.candidates.append(self._candidate("direct", "127.0.0.1", port, self.jid, 8_257_536))
        return transport

    async def _connects(self, to: str, sid: str, offer, theirs, listener) -> tuple[object, str]:
        ours = offer.transport
        if isinstance(ours, payloads.InbandTransport):
            return (ours.sid, int(theirs.block_size)), "in-band"
        stream = await self._agrees(to, sid, offer, theirs, ours, listener, initiator=True)
        if stream is not None:
            return stream
        inband = self._inband(secrets.token_hex(8), self.block)
        await self._says_transport(to, sid, offer, "transport-replace", inband)
        _, accepted = await self._hears("transport-accept")
        return (inband.sid, int(accepted.contents[0].transport.block_size)), "in-band"

    async def _writes_in_band(self, to: str, stream: tuple[str, int], wire: bytes) -> None:
        """Write blocks: three in flight (2.12: one), numbered without end; only 2.12 closes."""
        sid, size = stream
        modern = self.version >= (2, 13)
        await ask(self._client, Open(sid, size), to, WAIT_S, kind="set")
        gate, tasks = asyncio.Semaphore(self.window if modern else 1), []

        async def deliver(seq: int, block: bytes) -> None:
            try:
                await ask(self._client, Data(sid, seq, base64.b64encode(block).decode()), to, WAIT_S, kind="set")
            finally:
                gate.release()

        for seq, start in enumerate(range(0, len(wire), size)):
            await gate.acquire()
            self.last_number = seq
            tasks.append(asyncio.create_task(deliver(seq, wire[start : start + size])))
        await asyncio.gather(*tasks)
        if not modern:
            await ask(self._client, Close(sid), to, WAIT_S, kind="set")

    def _checksum(self, name: str, wire: bytes) -> Callable[[payloads.Jingle], None]:
        """Announce what it hashes: the bytes on the wire; 2.12 by SHA-1 only."""
        algorithms = ("sha-1", "sha-256") if self.version >= (2, 13) else ("sha-1",)

        def fill(jingle: payloads.Jingle) -> None:
            checksum = jingle.checksum = payloads.Checksum()
            checksum.creator, checksum.name, checksum.file = "initiator", name, payloads.File()
            for algorithm in algorithms:
                element = payloads.Hash()
                element.algo = algorithm
                digest = hashlib.new(algorithm.replace("-", ""), wire).digest()
                element.text = base64.b64encode(digest).decode()
                checksum.file.hashes.append(element)

        return fill
