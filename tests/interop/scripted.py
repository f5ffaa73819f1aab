"""A client that a test moves: how it goes online, hears and says stanzas, and comes to a stream of bytes.

The XML is made by jet's payload classes; what is said, and when, is decided by the scripts that build on this.
"""

import asyncio
import base64
import contextlib
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Self

import aioxmpp
import aioxmpp.errors
from lxml import etree

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
from jetcli.xmpp.omemo_pep import OmemoPep

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


class GaveUpError(Exception):
    """The session ended otherwise than with success."""


class Scripted:
    """One running client; `version` is (2, 12) or (2, 13), and `called` the name of its software."""

    #: How large its in-band blocks are, and how many are on their way at once.
    block, window = 8192, 3

    def __init__(self, connection: Connection, omemo: Omemo, version: tuple[int, int], inbox: asyncio.Queue) -> None:
        self.version = version
        #: Whether its own proxy is a stand-in: not asked to join the connections, and the peer's is out of reach.
        self.stand_in = False
        #: Whether it says that it reached nothing before it accepts, and never dials.
        self.hasty = False
        #: How many bytes it writes against a stream that it receives, before it reads; and how that stream ended.
        self.writes_back = 0
        self.end = ""
        #: The number of the last in-band block that it sent.
        self.last_number = -1
        #: Every Jingle stanza that came, in its order.
        self.heard: list[payloads.Jingle] = []
        #: Jingle actions that it answers with an error.
        self.refuses: set[str] = set()
        self.jid = connection.jid
        self._client = connection.client
        self._omemo = omemo
        self._inbox = inbox
        self._passed: list[payloads.Jingle] = []
        self._blocks: dict[str, list[bytes]] = defaultdict(list)
        self._closed: set[str] = set()
        self._changed = asyncio.Event()
        for payload, handler in (
            (payloads.Jingle, self._on_jingle),
            (Open, self._on_open),
            (Data, self._on_data),
            (Close, self._on_close),
        ):
            self._client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payload, handler)

    @classmethod
    async def start(
        cls,
        stack: contextlib.AsyncExitStack,
        settings: AccountSettings,
        directory,
        version=(2, 13),
        *,
        called: str = "Conversations",
        release: str | None = None,
        features=FEATURES,
    ) -> Self:
        """Go online; everything is closed with `stack`. `release` is told to whoever asks for it."""

        def setup(client: aioxmpp.Client) -> None:
            server = client.summon(aioxmpp.DiscoServer)
            server.register_identity("client", "phone", names={None: called})
            with contextlib.suppress(KeyError):
                server.unregister_identity("client", "bot")
            for feature in features:
                server.register_feature(feature)
            client.summon(aioxmpp.EntityCapsService)
            client.summon(OmemoPep)
            if release is not None:
                software = client.summon(aioxmpp.VersionServer)
                software.name, software.version = called, release

        connection = await stack.enter_async_context(
            await Connection.open(settings, resource=f"{called}.x1", presence=Presence(), setup=setup)
        )
        store = Store.open(directory)
        stack.callback(store.close)
        omemo = await Omemo.start(connection.client, KeyValues(store), TrustBook(store, "btbv"), contextlib.nullcontext)
        stack.push_async_callback(omemo.close)
        return cls(connection, omemo, version, asyncio.Queue())

    async def _on_jingle(self, iq: aioxmpp.IQ) -> None:
        self.heard.append(iq.payload)
        if iq.payload.action in self.refuses:
            raise aioxmpp.errors.XMPPCancelError(aioxmpp.ErrorCondition.ITEM_NOT_FOUND)
        self._inbox.put_nowait((str(iq.from_), iq.payload))

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
        def fill(jingle: payloads.Jingle) -> None:
            jingle.reason = payloads.Reason()
            jingle.reason.rest.append(etree.Element(f"{{{model.NS_JINGLE}}}{condition}"))

        await self._says(to, sid, "session-terminate", fill)

    def _inband(self, sid: str, block_size: int) -> payloads.InbandTransport:
        element = payloads.InbandTransport()
        element.sid, element.block_size = sid, str(min(self.block, block_size))
        return element

    # SOCKS5.

    @staticmethod
    def _candidate(kind: str, host: str, port: int, jid: str, priority: int) -> payloads.Candidate:
        element = payloads.Candidate()
        element.cid, element.type_, element.host, element.port = secrets.token_hex(4), kind, host, str(port)
        element.jid, element.priority = jid, str(priority)
        return element

    async def _agrees(self, peer, sid, content, theirs, ours, listener, *, initiator: bool):
        """Dial, compare and return the connection with its kind; None where neither side reached the other."""
        dialled, channel = (None, None) if self.hasty else await self._dials(peer, theirs)
        if not self.hasty:
            await self._answers(peer, sid, content, theirs, dialled)
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

    async def _answers(self, peer, sid, content, theirs, dialled) -> None:
        """Say which candidate was reached, or that none was."""
        answer = payloads.Socks5Transport()
        answer.sid = theirs.sid
        if dialled is None:
            answer.failed = (model.NS_SOCKS5_TRANSPORT, "candidate-error")
        else:
            answer.used = payloads.CandidateUsed()
            answer.used.cid = dialled.cid
        await self._says_transport(peer, sid, content, "transport-info", answer)

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


def how_it_ends(channel: socks5.SocketChannel) -> str:
    """Read on to the end of a stream, and say how it came."""
    try:
        count = channel.recv_into(memoryview(bytearray(1)))
    except OSError as error:
        return type(error).__name__
    return "bytes" if count else "closed"


def _exactly(channel: socks5.SocketChannel, size: int) -> bytes:
    wire = bytearray()
    buffer = memoryview(bytearray(65_536))
    while len(wire) < size and (count := channel.recv_into(buffer)):
        wire += buffer[:count]
    return bytes(wire)
