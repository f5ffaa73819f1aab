"""The way to the account's server: which host, and how TLS begins there.

Owns SRV look-up (RFC 6120 section 3.2, XEP-0368), dialling and the start of TLS, each with a deadline. Where a server
is named by the user it is the only one, also for every reconnect. It does not judge certificates or log in; see
security.py.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import aioopenssl
import aioxmpp.connector
import aioxmpp.errors
import aioxmpp.network
import aioxmpp.nonza
import aioxmpp.protocol
import dns.asyncresolver
import dns.exception
import dns.rdatatype
import OpenSSL.SSL

from jetcli.xmpp.account import CONNECT_S, AccountSettings
from jetcli.xmpp.aioxmpp_fixes import Option
from jetcli.xmpp.phases import phase_over
from jetcli.xmpp.security import ascii_domain

PORT = 5222
#: One address of several that does not answer must not use up the whole deadline.
ADDRESS_S = 10.0
SRV_S = 5.0
#: aioxmpp reconnects at once after a stream error; a server that always sends one must not be hammered.
PAUSE_S = 1.0


class HandshakeError(ConnectionError):
    """TLS could not be agreed on; the text is OpenSSL's reason."""


class Route:
    """The servers of one account, found anew for each connection; it can cut the connection that it made last."""

    def __init__(self, settings: AccountSettings) -> None:
        self._settings = settings
        self._transport: asyncio.Transport | None = None
        self._not_before = 0.0

    async def find(self, domain: str) -> list[Option]:
        """Return the hosts to try, best first; raise ConnectionError where the domain offers no XMPP."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        self._not_before = loop.time() + PAUSE_S
        if self._settings.server is not None:
            host, port = self._settings.server
            return [(host, port, self._connector(direct_tls=self._settings.direct_tls))]
        return await self._by_name(domain)

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    async def _by_name(self, domain: str) -> list[Option]:
        name = ascii_domain(domain)
        fallback: list[Option] = [(name.strip("[]"), PORT, self._connector(direct_tls=False))]
        if _is_address(name):
            return fallback
        starttls, direct = await asyncio.gather(_srv(name, "xmpp-client"), _srv(name, "xmpps-client"))
        if starttls is None and direct is None:
            return fallback
        records = [
            (priority, weight, (host, port, self._connector(direct_tls=kind is direct)))
            for kind in (starttls, direct)
            for priority, weight, host, port in kind or ()
        ]
        if not records and starttls is None:
            return fallback  # only what begins with TLS is said not to be there
        if not records:
            raise ConnectionError("its DNS says that there is no XMPP")
        return list(aioxmpp.network.group_and_order_srv_records(records))

    def _connector(self, *, direct_tls: bool) -> "Connector":
        return Connector(direct_tls=direct_tls, connected=self._connected)

    def _connected(self, transport: asyncio.Transport) -> None:
        self._transport = transport


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _srv(domain: str, service: str) -> list[tuple[int, int, str, int]] | None:
    """Return priority, weight, host and port of each record; None without one, empty where they deny the service."""
    try:
        answer = await dns.asyncresolver.resolve(
            f"_{service}._tcp.{domain}.", dns.rdatatype.SRV, lifetime=SRV_S, search=False
        )
    except (dns.exception.DNSException, OSError):
        # A resolver that knows no SRV is no reason to give up: the certificate is checked for the domain anyway.
        return None
    records = [(r.priority, r.weight, str(r.target).rstrip("."), r.port) for r in answer]
    return [record for record in records if record[2]]


class Connector(aioxmpp.connector.BaseConnector):
    """Connect to one host and begin TLS there, at once (`direct_tls`) or by STARTTLS; never go on without it."""

    tls_supported = True
    dane_supported = False

    def __init__(self, *, direct_tls: bool, connected: Callable[[asyncio.Transport], None]) -> None:
        self._direct_tls = direct_tls
        self._connected = connected

    async def connect(  # noqa: PLR0917  # aioxmpp's signature
        self,
        loop: asyncio.AbstractEventLoop,
        metadata: Any,
        domain: str,
        host: str,
        port: int,
        negotiation_timeout: float,
        base_logger: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Return transport, stream and its features; raise OSError, TLSFailure or TimeoutError within 30 s."""
        stream = aioxmpp.protocol.XMLStream(to=domain, base_logger=base_logger)
        async with asyncio.timeout(CONNECT_S):
            sock = await _dial(loop, host, port)
            phase_over("connect")
            try:
                transport, features = await self._negotiate(loop, stream, sock, metadata, domain)
            except BaseException as error:
                _hang_up(loop, stream, sock)
                if isinstance(error, OpenSSL.SSL.Error):
                    raise _as_connection_error(error) from None
                raise
        stream.deadtime_hard_limit = timedelta(seconds=negotiation_timeout)
        phase_over("TLS")
        self._connected(transport)
        return transport, stream, features

    async def _negotiate(
        self, loop: asyncio.AbstractEventLoop, stream: Any, sock: socket.socket, metadata: Any, domain: str
    ) -> tuple[Any, Any]:
        verifier = metadata.certificate_verifier_factory()

        def context(transport: Any) -> OpenSSL.SSL.Context:
            made: OpenSSL.SSL.Context = metadata.ssl_context_factory()
            made.set_alpn_protos([b"xmpp-client"])
            verifier.setup_context(made, transport)
            return made

        features = stream.features_future()
        try:
            transport, _ = await aioopenssl.create_starttls_connection(
                loop,
                lambda: stream,
                sock=sock,
                server_hostname=ascii_domain(domain),
                ssl_context_factory=context,
                use_starttls=not self._direct_tls,
                post_handshake_callback=verifier.post_handshake,
            )
            first = await features
        finally:
            features.cancel()
        if self._direct_tls:
            return transport, first
        await _ask_for_tls(stream, first)
        await stream.starttls(context(transport), verifier.post_handshake)
        return transport, await aioxmpp.protocol.reset_stream_and_get_features(stream, timeout=CONNECT_S)


async def _ask_for_tls(stream: Any, features: Any) -> None:
    unavailable = aioxmpp.errors.TLSUnavailable("no STARTTLS")
    if not features.has_feature(aioxmpp.nonza.StartTLSFeature):
        raise unavailable
    try:
        answer = await aioxmpp.protocol.send_and_wait_for(
            stream,
            [aioxmpp.nonza.StartTLS()],
            [aioxmpp.nonza.StartTLSFailure, aioxmpp.nonza.StartTLSProceed],
        )
    except aioxmpp.errors.StreamError:
        raise unavailable from None
    if not isinstance(answer, aioxmpp.nonza.StartTLSProceed):
        raise unavailable


async def _dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Return a connected socket to the first address of `host` that answers; raise the last OSError."""
    failure: OSError = ConnectionError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout(ADDRESS_S):
                await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


def _hang_up(loop: asyncio.AbstractEventLoop, stream: Any, sock: socket.socket) -> None:
    """Let go of a connection that is not used: a transport knows how, in a handshake only the socket is left."""
    if stream.transport is not None:
        stream.transport.abort()
        return
    stream.abort()
    if sock.fileno() >= 0:
        loop.remove_reader(sock)
        loop.remove_writer(sock)
        sock.close()


def _as_connection_error(error: OpenSSL.SSL.Error) -> ConnectionError:
    # Among the OSErrors aioxmpp tries the next host, and later reconnects; an SSL.Error would end it.
    if isinstance(error, OpenSSL.SSL.SysCallError | OpenSSL.SSL.ZeroReturnError):
        return ConnectionResetError("connection closed while TLS began")
    reasons = error.args[0] if error.args else ()
    return HandshakeError(reasons[0][-1] if reasons else "no reason given")
