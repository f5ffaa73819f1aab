"""A scripted peer that behaves as Conversations does, which cannot run here: 2.13 and later, and 2.12 before.

Written from what its source does, with its strictness and its faults: it demands `security@name` and the cipher's URI
without `:0` (2.13) and takes everything else for an unencrypted file; it uses key material at whatever length it comes;
it dials one candidate after the other, three seconds each; it never closes a socket first; its checksum is over
ciphertext and tag; its in-band numbers do not start again, and 2.13 sends no `<close/>`. The XML is made by jet's
payload classes; what is said, and when, is decided here.
"""

import asyncio
import base64
import contextlib
import hashlib
import secrets
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import aioxmpp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jetcli.protocol import model
from jetcli.protocol.bytestream import dst_addr
from jetcli.state.store import KeyValues, Store
from jetcli.state.trust import TrustBook
from jetcli.xmpp import payloads, socks5
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.ask import ask
from jetcli.xmpp.connection import Connection, Presence
from jetcli.xmpp.inband import Close, Data, Open
from jetcli.xmpp.omemo import Omemo
from jetcli.xmpp.omemo_payloads import Encrypted
from jetcli.xmpp.omemo_pep import OmemoPep

CIPHER = "urn:xmpp:ciphers:aes-128-gcm-nopadding"
FEATURES = (
    model.NS_JINGLE,
    model.NS_FILE_TRANSFER,
    model.NS_SOCKS5_TRANSPORT,
    model.NS_INBAND_TRANSPORT,
    model.NS_JET,
    model.NS_JET_OMEMO,
    "urn:xmpp:jingle:transports:webrtc-datachannel:1",
)
WAIT_S = 20.0
DIAL_S = 3.0
BLOCK = 8192


class GaveUpError(Exception):
    """The session ended otherwise than with success."""


@dataclass(frozen=True)
class Saved:
    """What it would show as received: `decrypted` says whether it knew the file to be encrypted."""

    name: str
    content: bytes
    decrypted: bool
    tag_right: bool
    way: str


class Conversations:
    """One running client; `version` is (2, 12) or (2, 13)."""

    def __init__(self, connection: Connection, omemo: Omemo, version: tuple[int, int], inbox: asyncio.Queue) -> None:
        self.version = version
        #: Whether its own proxy is a stand-in: not asked to join the connections, and the peer's is out of reach.
        self.stand_in = False
        self.jid = connection.jid
        self._client = connection.client
        self._omemo = omemo
        self._inbox = inbox
        self._passed: list[payloads.Jingle] = []
        self._blocks: dict[str, list[bytes]] = defaultdict(list)
        self._closed: set[str] = set()
        self._changed = asyncio.Event()
        for payload, handler in ((Open, self._on_open), (Data, self._on_data), (Close, self._on_close)):
            self._client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payload, handler)

    @classmethod
    async def start(
        cls, stack: contextlib.AsyncExitStack, settings: AccountSettings, directory, version
    ) -> "Conversations":
        """Go online; everything is closed with `stack`."""
        inbox: asyncio.Queue = asyncio.Queue()

        async def on_iq(iq: aioxmpp.IQ) -> None:
            inbox.put_nowait((str(iq.from_), iq.payload))

        def setup(client: aioxmpp.Client) -> None:
            server = client.summon(aioxmpp.DiscoServer)
            server.register_identity("client", "phone", names={None: "Conversations"})
            with contextlib.suppress(KeyError):
                server.unregister_identity("client", "bot")
            for feature in FEATURES:
                server.register_feature(feature)
            client.summon(aioxmpp.EntityCapsService)
            client.summon(OmemoPep)
            client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payloads.Jingle, on_iq)

        connection = await stack.enter_async_context(
            await Connection.open(settings, resource="Conversations.x1", presence=Presence(), setup=setup)
        )
        store = Store.open(directory)
        stack.callback(store.close)
        omemo = await Omemo.start(connection.client, KeyValues(store), TrustBook(store, "btbv"), contextlib.nullcontext)
        stack.push_async_callback(omemo.close)
        return cls(connection, omemo, version, inbox)

    # Stanzas.

    async def _hears(self, *actions: str) -> tuple[str, payloads.Jingle]:
        """Wait for one of these actions, keeping others for later."""
        for kept in list(self._passed):
            if kept[1].action in actions:
                self._passed.remove(kept)
                return kept
        async with asyncio.timeout(WAIT_S):
            while True:
                sender, jingle = await self._inbox.get()
                if jingle.action in actions:
                    return sender, jingle
                if jingle.action == "session-terminate":
                    raise GaveUpError([str(child.tag) for child in jingle.reason.rest])
                self._passed.append((sender, jingle))

    async def _says(self, to: str, sid: str, action: str, fill: Callable[[payloads.Jingle], None]) -> None:
        """Send a Jingle action: never with `initiator` or `responder`."""
        jingle = payloads.Jingle()
        jingle.sid, jingle.action = sid, action
        fill(jingle)
        await ask(self._client, jingle, to, WAIT_S, kind="set")

    async def _says_transport(self, to: str, sid: str, content: payloads.Content, action: str, transport) -> None:
        def fill(jingle: payloads.Jingle) -> None:
            element = payloads.Content()
            element.creator, element.name, element.senders = content.creator, content.name, content.senders
            element.transport = transport
            jingle.contents.append(element)

        await self._says(to, sid, action, fill)

    async def _ends(self, to: str, sid: str, condition: str) -> None:
        from lxml import etree

        def fill(jingle: payloads.Jingle) -> None:
            jingle.reason = payloads.Reason()
            jingle.reason.rest.append(etree.Element(f"{{{model.NS_JINGLE}}}{condition}"))

        await self._says(to, sid, "session-terminate", fill)

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
        wire = await self._reads(channel, size)
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
        listener = await socks5.Listener.open(["127.0.0.1"], accepted=[dst_addr(offered.sid, self.jid, sender)])
        ours = payloads.Socks5Transport()
        ours.sid = offered.sid
        ours.candidates.append(self._candidate("direct", "127.0.0.1", listener.port, self.jid, 8_257_536))
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

    def _inband(self, sid: str, block_size: int) -> payloads.InbandTransport:
        element = payloads.InbandTransport()
        element.sid, element.block_size = sid, str(min(BLOCK, block_size))
        return element

    async def _accept_with(self, sender: str, sid: str, content: payloads.Content, transport) -> None:
        def fill(jingle: payloads.Jingle) -> None:
            element = payloads.Content()
            element.creator, element.name, element.senders = content.creator, content.name, content.senders
            element.description, element.transport = content.description, transport
            jingle.contents.append(element)

        await self._says(sender, sid, "session-accept", fill)

    # SOCKS5.

    @staticmethod
    def _candidate(kind: str, host: str, port: int, jid: str, priority: int) -> payloads.Candidate:
        element = payloads.Candidate()
        element.cid, element.type_, element.host, element.port = secrets.token_hex(4), kind, host, str(port)
        element.jid, element.priority = jid, str(priority)
        return element

    async def _agrees(self, peer, sid, content, theirs, ours, listener, *, initiator: bool):
        """Dial, compare and return the connection with its kind; None where neither side reached the other."""
        dialled, channel = await self._dials(peer, theirs)
        answer = payloads.Socks5Transport()
        answer.sid = theirs.sid
        if dialled is None:
            answer.failed = (model.NS_SOCKS5_TRANSPORT, "candidate-error")
        else:
            answer.used = payloads.CandidateUsed()
            answer.used.cid = dialled.cid
        await self._says_transport(peer, sid, content, "transport-info", answer)
        used = await self._choice()
        chosen = next((each for each in ours.candidates if used == each.cid), None)
        if dialled is None and chosen is None:
            listener.close()
            return None
        if chosen is None or (dialled is not None and self._wins(dialled, chosen, initiator=initiator)):
            if dialled.type_ == "proxy":
                _, told = await self._hears("transport-info")
                assert told.contents[0].transport.activated is not None
            return channel, dialled.type_
        if chosen.type_ == "proxy":
            return await self._activates(peer, sid, content, ours, chosen), "proxy"
        return await listener.connected(WAIT_S), "direct"

    @staticmethod
    def _wins(dialled, chosen, *, initiator: bool) -> bool:
        mine, its = int(dialled.priority), int(chosen.priority)
        return mine > its or (mine == its and initiator)

    async def _choice(self) -> str | None:
        _, info = await self._hears("transport-info")
        transport = info.contents[0].transport
        return transport.used.cid if transport.used is not None else None

    async def _dials(self, peer: str, theirs: payloads.Socks5Transport):
        """Dial one after the other, best first; `dstaddr` is computed, never read."""
        for each in sorted(() if self.stand_in else theirs.candidates, key=lambda candidate: -int(candidate.priority)):
            if None in {each.cid, each.host, each.jid, each.port, each.priority, each.type_}:
                continue
            if each.type_ not in {"direct", "proxy"}:
                continue
            with contextlib.suppress(OSError):
                address = dst_addr(theirs.sid, peer, self.jid)
                return each, await socks5.dial(each.host, int(each.port), address, timeout_s=DIAL_S)
        return None, None

    async def _activates(self, peer: str, sid: str, content, ours: payloads.Socks5Transport, chosen):
        address = dst_addr(ours.sid, self.jid, peer)
        channel = await socks5.dial(chosen.host, int(chosen.port), address, timeout_s=DIAL_S)
        if not self.stand_in:
            await socks5.activate(self._client, chosen.jid, ours.sid, peer)
        told = payloads.Socks5Transport()
        told.sid, told.activated = ours.sid, payloads.Activated()
        told.activated.cid = chosen.cid
        await self._says_transport(peer, sid, content, "transport-info", told)
        return channel

    # Sending.

    async def send(self, to: str, name: str, content: bytes, *, way: str = "direct", proxy=None) -> str:
        """Send a file to a full JID and return the way that it took; raise GaveUpError where that did not succeed."""
        sid, content_name, transport_sid = secrets.token_hex(8), str(uuid.uuid4()), secrets.token_hex(8)
        key, iv = secrets.token_bytes(16), secrets.token_bytes(12)
        wire = AESGCM(key).encrypt(iv, content, None)
        listener = await socks5.Listener.open(["127.0.0.1"], accepted=[dst_addr(transport_sid, self.jid, to)])
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
            return self._inband(sid, BLOCK)
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
        inband = self._inband(secrets.token_hex(8), BLOCK)
        await self._says_transport(to, sid, offer, "transport-replace", inband)
        _, accepted = await self._hears("transport-accept")
        return (inband.sid, int(accepted.contents[0].transport.block_size)), "in-band"

    async def _writes_in_band(self, to: str, stream: tuple[str, int], wire: bytes) -> None:
        """Write blocks: three in flight (2.12: one), numbered without end; only 2.12 closes."""
        sid, size = stream
        modern = self.version >= (2, 13)
        await ask(self._client, Open(sid, size), to, WAIT_S, kind="set")
        gate, tasks = asyncio.Semaphore(3 if modern else 1), []

        async def deliver(seq: int, block: bytes) -> None:
            try:
                await ask(self._client, Data(sid, seq, base64.b64encode(block).decode()), to, WAIT_S, kind="set")
            finally:
                gate.release()

        for seq, start in enumerate(range(0, len(wire), size)):
            await gate.acquire()
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

    # In-band, received.

    async def _on_open(self, iq: aioxmpp.IQ) -> None:
        self._blocks[iq.payload.sid] = []

    async def _on_data(self, iq: aioxmpp.IQ) -> None:
        self._blocks[iq.payload.sid].append(base64.b64decode(iq.payload.text))
        self._changed.set()

    async def _on_close(self, iq: aioxmpp.IQ) -> None:
        self._closed.add(iq.payload.sid)
        self._changed.set()

    async def _reads(self, channel, size: int) -> bytes:
        """Count to `size`; 2.12 waits for the `<close/>` of an in-band stream, too."""
        if not isinstance(channel, str):
            return await asyncio.to_thread(_exactly, channel, size)
        async with asyncio.timeout(WAIT_S):
            while True:
                self._changed.clear()
                got = b"".join(self._blocks[channel])
                if len(got) >= size and (self.version >= (2, 13) or channel in self._closed):
                    return got
                await self._changed.wait()


def _exactly(channel: socks5.SocketChannel, size: int) -> bytes:
    wire = bytearray()
    buffer = memoryview(bytearray(65_536))
    while len(wire) < size and (count := channel.recv_into(buffer)):
        wire += buffer[:count]
    return bytes(wire)
