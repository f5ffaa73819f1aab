"""SOCKS5 bytestreams: listening for a peer, dialling one, and asking a proxy to join two connections (XEP-0065, 0260).

asyncio carries the handshakes, whose bytes are those of `jetcli.protocol.socks5`; what comes out is a `SocketChannel`
for a worker thread. Refuses to know candidates, priorities and policy: see `jetcli.xmpp.candidates`.
"""

import asyncio
import functools
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import aioxmpp
from aioxmpp import xso

from jetcli.errors import JetError, NetworkError
from jetcli.protocol.model import NS_BYTESTREAMS
from jetcli.protocol.policy import shown, unsigned
from jetcli.protocol.socks5 import ClientHandshake, Refused, Send, ServerHandshake
from jetcli.xmpp.ask import ask
from jetcli.xmpp.channel import IDLE_S, SocketChannel

#: Longest host name of the DNS, and addresses of one name that are looked at.
_MAX_HOST = 255
_MAX_ADDRESSES = 8
#: Connections that the kernel holds for us; more are pending handshakes already.
_BACKLOG = 16
#: After an accept failed for want of descriptors, the next one waits for some to become free.
_ACCEPT_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class HandshakeLimits:
    """How long a handshake with our listener may take in all and between bytes, and how many may go on at once."""

    handshake_s: float = 5.0
    between_bytes_s: float = 3.0
    pending: int = 8


class HandshakeError(ConnectionError):
    """A connection was made, but the other side refused the bytestream or speaks no SOCKS5."""


class Listener:
    """Waits for the peer on our own addresses, for as long as a negotiation lasts.

    Strangers who do not name the bytestream are closed, and so are those who dawdle. When there are too many, the
    oldest gives way: so nobody keeps the peer out by holding connections open.
    """

    def __init__(self, sockets: Sequence[socket.socket], accepted: Collection[str], limits: HandshakeLimits) -> None:
        self._accepted = tuple(accepted)
        self._limits = limits
        self._pending: dict[asyncio.Task[None], None] = {}
        self._connected: list[socket.socket] = []
        self._arrived = asyncio.Event()
        #: Where it listens: host literals and ports, in the order of the hosts that it was opened with.
        self.addresses: tuple[tuple[str, int], ...] = tuple(sock.getsockname()[:2] for sock in sockets)
        self._listening = [asyncio.create_task(self._listen(sock)) for sock in sockets]
        for task, sock in zip(self._listening, sockets, strict=True):
            task.add_done_callback(functools.partial(_close, sock))

    @classmethod
    async def open(
        cls,
        hosts: Sequence[str],
        *,
        accepted: Collection[str],
        port: int | None = None,
        limits: HandshakeLimits | None = None,
    ) -> Self:
        """Listen on `hosts` (literals) for the bytestreams `accepted` (each a DST.ADDR), all on one port if possible.

        A host that is ours no longer is left out. Raises OSError when none is left, or `port` is taken.
        """
        sockets: list[socket.socket] = []
        failure = OSError("there is no address to listen on")
        for host in hosts:
            try:
                sockets.append(_bound(host, port or (sockets[0].getsockname()[1] if sockets else 0), insist=bool(port)))
            except OSError as error:
                failure = error
        if not sockets:
            raise failure
        return cls(sockets, accepted, limits or HandshakeLimits())

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.addresses[0][1]

    async def connected(self, timeout_s: float, host: str | None = None, *, idle_s: float = IDLE_S) -> SocketChannel:
        """Hand over a connection of the peer, the newest one to `host` if that is given and we listen there.

        Raises TimeoutError when there is none within `timeout_s`.
        """
        ours = any(host == address for address, _ in self.addresses)
        async with asyncio.timeout(timeout_s):
            while True:
                for connection in reversed(self._connected):
                    if not ours or connection.getsockname()[0] == host:
                        self._connected.remove(connection)
                        return SocketChannel(connection, idle_s=idle_s)
                self._arrived.clear()
                await self._arrived.wait()

    def close(self) -> None:
        """Stop listening, and close every connection that was not handed over."""
        for task in [*self._listening, *self._pending]:
            task.cancel()
        while self._connected:
            self._connected.pop().close()

    async def _listen(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:
                await asyncio.sleep(_ACCEPT_PAUSE_S)
            else:
                self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        if len(self._pending) >= self._limits.pending:
            next(iter(self._pending)).cancel()
        task = asyncio.create_task(self._shake_hands(connection))
        self._pending[task] = None
        task.add_done_callback(self._pending.pop)
        task.add_done_callback(lambda done: _close(connection, done) if done.cancelled() else None)

    async def _shake_hands(self, connection: socket.socket) -> None:
        handshake = ServerHandshake(self._accepted)
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                await _perform(handshake, connection, self._limits.between_bytes_s)
        except OSError:
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            self._keep(connection)

    def _keep(self, connection: socket.socket) -> None:
        # Only the peer and the servers between us know the name of the bytestream; even they get only so many.
        if len(self._connected) >= self._limits.pending:
            self._connected.pop(0).close()
        self._connected.append(connection)
        self._arrived.set()


def _close(sock: socket.socket, _done: "asyncio.Task[None]") -> None:
    """Close what a task was to take care of: one that is cancelled before its first step never gets to it."""
    sock.close()


def _bound(host: str, port: int, *, insist: bool) -> socket.socket:
    """Return a socket that listens on `host`, on another port than `port` if that is taken and need not be."""
    try:
        return _listening(host, port)
    except OSError:
        if insist or not port:
            raise
        return _listening(host, 0)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listening.setblocking(False)
    return listening


async def _perform(
    handshake: ClientHandshake | ServerHandshake, connection: socket.socket, between_bytes_s: float | None
) -> None:
    """Carry a handshake to its end; raises HandshakeError, TimeoutError or another OSError."""
    loop = asyncio.get_running_loop()
    while handshake.wanted:
        async with asyncio.timeout(between_bytes_s):
            data = await loop.sock_recv(connection, handshake.wanted)
        if not data:
            raise HandshakeError("the connection was closed during the handshake")
        for event in handshake.receive(data):
            match event:
                case Send(answer):
                    await loop.sock_sendall(connection, answer)
                case Refused(reason):
                    raise HandshakeError(reason)


async def dial(
    host: str,
    port: int,
    dstaddr: str,
    *,
    timeout_s: float,
    retry_dstaddr: str | None = None,
    idle_s: float = IDLE_S,
) -> SocketChannel:
    """Connect to a candidate and ask for the bytestream `dstaddr`, all within `timeout_s`.

    `host` is an address literal that policy allows. Where the handshake fails, `retry_dstaddr` is asked for in a second
    connection: Psi puts the initiator's JID first whoever offers. Raises OSError, by its kind TimeoutError or
    HandshakeError.
    """
    async with asyncio.timeout(timeout_s):
        try:
            return await _dial(host, port, dstaddr, idle_s)
        except HandshakeError:
            if retry_dstaddr is None:
                raise
        return await _dial(host, port, retry_dstaddr, idle_s)


async def _dial(host: str, port: int, dstaddr: str, idle_s: float) -> SocketChannel:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        await loop.sock_connect(connection, (host, port))
        handshake = ClientHandshake(dstaddr)
        await loop.sock_sendall(connection, handshake.start().data)
        await _perform(handshake, connection, None)
    except BaseException:
        connection.close()
        raise
    return SocketChannel(connection, idle_s=idle_s)


async def resolve(host: str, port: int, why_not: Callable[[str, int], str | None], *, timeout_s: float = 5.0) -> str:
    """Return the first address of `host` that `why_not` has nothing against; a literal is its own address.

    The name is resolved once: dial what comes back, never the name. Raises OSError when the name is unknown, when that
    takes too long, or when every address is refused, with the first reason.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(timeout_s):
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    reasons = []
    for address in list(dict.fromkeys(str(info[4][0]) for info in found))[:_MAX_ADDRESSES]:
        reason = why_not(address, port)
        if reason is None:
            return address
        reasons.append(reason)
    raise OSError(f"no address to dial: {reasons[0] if reasons else 'none is known'}")


# Proxies, by stanzas.


@dataclass(frozen=True, slots=True)
class StreamHost:
    """Where a proxy serves bytestreams: its JID, and the host (a name or a literal) and port to dial."""

    jid: str
    host: str
    port: int


#: Asks the proxy `jid` to activate the bytestream `sid` for a target (full JID); raises ProxyRefusedError.
ActivateProxy = Callable[[str, str, str], Awaitable[None]]


class ProxyRefusedError(NetworkError):
    """A proxy refuses to serve, does not answer, or gives no usable address."""


class StreamHostElement(xso.XSO):
    """`<streamhost/>` (XEP-0065 section 4)."""

    TAG = (NS_BYTESTREAMS, "streamhost")
    jid = xso.Attr("jid", default=None)
    host = xso.Attr("host", default=None)
    port = xso.Attr("port", default=None)


@aioxmpp.IQ.as_payload_class
class Query(xso.XSO):
    """`<query/>` of bytestreams: a question for addresses, its answer, or a request to activate (XEP-0065)."""

    TAG = (NS_BYTESTREAMS, "query")
    sid = xso.Attr("sid", default=None)
    streamhosts = xso.ChildList([StreamHostElement])
    activate = xso.ChildText((NS_BYTESTREAMS, "activate"), default=None)

    def __init__(self, sid: str | None = None, activate: str | None = None) -> None:
        super().__init__()
        self.sid = sid
        self.activate = activate


async def query_streamhost(client: aioxmpp.Client, proxy_jid: str, *, timeout_s: float = 30.0) -> StreamHost:
    """Ask a proxy for its own address (XEP-0065 section 4); raise ProxyRefusedError."""
    answer = await _ask_proxy(client, proxy_jid, Query(), "get", timeout_s)
    elements = answer.streamhosts if isinstance(answer, Query) else []
    for element in elements:
        if host := _usable(element, proxy_jid):
            return host
    raise ProxyRefusedError(f"proxy {shown(proxy_jid)} gives no usable address")


def _usable(element: StreamHostElement, proxy_jid: str) -> StreamHost | None:
    """Read a streamhost; None where it is malformed, or of another JID than was asked, which nobody vouches for."""
    if element.jid != proxy_jid or not element.host or len(element.host) > _MAX_HOST:
        return None
    try:
        port = unsigned(element.port or "", 65535)
    except ValueError:
        return None
    return StreamHost(proxy_jid, element.host, port) if port else None


async def activate(client: aioxmpp.Client, proxy_jid: str, sid: str, target: str, *, timeout_s: float = 30.0) -> None:
    """Have a proxy join our connection and that of `target` (full JID) to one bytestream; raise ProxyRefusedError.

    `sid` is the transport's, whose DST.ADDR both have asked for (XEP-0065 section 6.3.5).
    """
    await _ask_proxy(client, proxy_jid, Query(sid, target), "set", timeout_s)


async def _ask_proxy(
    client: aioxmpp.Client, proxy_jid: str, query: Query, kind: Literal["get", "set"], timeout_s: float
) -> object:
    try:
        return await ask(client, query, proxy_jid, timeout_s, kind=kind)
    except JetError as error:
        raise ProxyRefusedError(f"proxy {shown(proxy_jid)}: {error.message}") from error
