"""SOCKS5 bytestreams: dialling a peer, and asking a proxy to join two connections (XEP-0065, 0260).

asyncio carries the handshakes, whose bytes are those of `jetcli.protocol.socks5`; what comes out is a `SocketChannel`
for a worker thread. Refuses to know candidates, priorities and policy: see `jetcli.xmpp.candidates`. Who waits for a
peer is `jetcli.xmpp.listener`.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Literal

import aioxmpp
from aioxmpp import xso
from msgspec import Struct

from jetcli.errors import JetError, NetworkError
from jetcli.protocol.model import NS_BYTESTREAMS
from jetcli.protocol.policy import shown, unsigned
from jetcli.protocol.socks5 import ClientHandshake, Established, Refused, Send, ServerHandshake
from jetcli.xmpp.ask import ask
from jetcli.xmpp.channel import IDLE_S, SocketChannel

#: Longest host name of the DNS, or JID of a proxy, and addresses of one name that are looked at.
_MAX_HOST = 255
_MAX_ADDRESSES = 8


class HandshakeError(ConnectionError):
    """A connection was made, but the other side refused the bytestream or speaks no SOCKS5."""


async def shake_hands(
    handshake: ClientHandshake | ServerHandshake, connection: socket.socket, between_bytes_s: float | None = None
) -> str:
    """Carry a handshake to its end and return the DST.ADDR of the bytestream.

    Raises HandshakeError, TimeoutError or another OSError.
    """
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
                case Established(name):
                    return name
    raise AssertionError("a handshake ends with a refusal or a bytestream")


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
        await shake_hands(handshake, connection)
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
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError("not a host name") from None  # the IDNA codec's word for a label that is empty or too long
    reasons = []
    for address in list(dict.fromkeys(str(info[4][0]) for info in found))[:_MAX_ADDRESSES]:
        reason = why_not(address, port)
        if reason is None:
            return address
        reasons.append(reason)
    raise OSError(f"no address to dial: {reasons[0] if reasons else 'none is known'}")


# Proxies, by stanzas.


class StreamHost(Struct, frozen=True):
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
    """Read a streamhost; None where it is malformed, or of another JID than was asked, which nobody vouches for.

    ejabberd names the node of its cluster that has the proxy by a resource, and that one has to be asked to activate.
    """
    jid, host = element.jid or "", element.host or ""
    if jid.partition("/")[0] != proxy_jid or not host or max(len(jid), len(host)) > _MAX_HOST:
        return None
    try:
        port = unsigned(element.port or "", 65535)
    except ValueError:
        return None
    return StreamHost(jid, host, port) if port else None


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
