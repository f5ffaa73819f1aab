"""Listening for the peer's SOCKS5 connection, at ports of one negotiation or at a port that all of them share.

An `Entrance` has the sockets and shakes hands (XEP-0065 section 5.3.2); a `Listener` is what one negotiation has of it:
the connections that named its bytestream. What is dialled is in `jetcli.xmpp.socks5`.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Sequence
from typing import Self

from msgspec import Struct

from jetcli.protocol.socks5 import ServerHandshake
from jetcli.xmpp.channel import IDLE_S, SocketChannel
from jetcli.xmpp.socks5 import shake_hands

#: Connections that the kernel holds for us; more are pending handshakes already.
_BACKLOG = 16
#: After an accept failed for want of descriptors, the next one waits for some to become free.
_ACCEPT_PAUSE_S = 0.1


class HandshakeLimits(Struct, frozen=True):
    """How long a handshake with our listener may take in all and between bytes, and how many may go on at once.

    `pending` is for each bytestream that is waited for.
    """

    handshake_s: float = 5.0
    between_bytes_s: float = 3.0
    pending: int = 8


class Entrance:
    """Our own addresses, open as long as a listener is there: each is handed the connections that name its bytestream.

    Strangers who name none are closed, and so are those who dawdle. When there are too many, the oldest gives way: so
    nobody keeps the peer out by holding connections open.
    """

    def __init__(self, hosts: Sequence[str], port: int | None, limits: HandshakeLimits) -> None:
        """Listen on `hosts` (literals), all on one port if possible; on `port` where one is given.

        A host that is ours no longer is left out. Raises OSError when none is left, or `port` is taken.
        """
        self._sockets = _bound_all(hosts, port)
        self._limits = limits
        self._listeners: dict[str, Listener] = {}
        self._pending: dict[asyncio.Task[None], None] = {}
        #: Host literals and ports, in the order of the hosts.
        self.addresses: tuple[tuple[str, int], ...] = tuple(sock.getsockname()[:2] for sock in self._sockets)
        self._listening = [asyncio.create_task(self._listen(sock)) for sock in self._sockets]

    @property
    def open(self) -> bool:
        """Whether it still listens."""
        return bool(self._sockets)

    def admit(self, listener: "Listener", accepted: Collection[str]) -> None:
        """Hand `listener` every connection that names one of the bytestreams `accepted` (each a DST.ADDR)."""
        self._listeners |= dict.fromkeys(accepted, listener)

    def dismiss(self, listener: "Listener") -> None:
        """Hand `listener` nothing more; the last one closes the entrance."""
        self._listeners = {name: one for name, one in self._listeners.items() if one is not listener}
        if self._listeners:
            return
        while self._sockets:
            # At once and not with the tasks, which end later: the next negotiation may want the same port.
            listening = self._sockets.pop()
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        for task in [*self._listening, *self._pending]:
            task.cancel()

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
        most = self._limits.pending * max(len(set(self._listeners.values())), 1)
        if len(self._pending) >= most:
            next(iter(self._pending)).cancel()
        task = asyncio.create_task(self._shake_hands(connection))
        self._pending[task] = None
        task.add_done_callback(self._pending.pop)
        # One that is cancelled before its first step never gets to closing what it was to take care of.
        task.add_done_callback(lambda done: connection.close() if done.cancelled() else None)

    async def _shake_hands(self, connection: socket.socket) -> None:
        handshake = ServerHandshake(tuple(self._listeners))
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                name = await shake_hands(handshake, connection, self._limits.between_bytes_s)
        except OSError:
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            self._hand_over(connection, name)

    def _hand_over(self, connection: socket.socket, name: str) -> None:
        listener = self._listeners.get(name)
        if listener is None:
            connection.close()  # it was dismissed meanwhile
        else:
            listener.keep(connection)


class Listener:
    """Waits for the peer of one negotiation at an entrance, for the bytestreams `accepted` (each a DST.ADDR)."""

    def __init__(self, entrance: Entrance, accepted: Collection[str], limits: HandshakeLimits) -> None:
        self._entrance = entrance
        self._limits = limits
        self._connected: list[socket.socket] = []
        self._arrived = asyncio.Event()
        entrance.admit(self, accepted)

    @classmethod
    def at(
        cls,
        hosts: Sequence[str],
        *,
        accepted: Collection[str],
        port: int | None = None,
        limits: HandshakeLimits | None = None,
    ) -> Self:
        """Listen at an entrance of its own; raises as `Entrance` does."""
        limits = limits or HandshakeLimits()
        return cls(Entrance(hosts, port, limits), accepted, limits)

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Where it listens: host literals and ports."""
        return self._entrance.addresses

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

    def keep(self, connection: socket.socket) -> None:
        """Take a connection that has named one of the bytestreams."""
        # Only the peer and the servers between us know the name of the bytestream; even they get only so many.
        if len(self._connected) >= self._limits.pending:
            self._connected.pop(0).close()
        self._connected.append(connection)
        self._arrived.set()

    def close(self) -> None:
        """Stop listening, and close every connection that was not handed over."""
        self._entrance.dismiss(self)
        while self._connected:
            self._connected.pop().close()


class SharedPorts:
    """The ports that the user chose: each is open while a negotiation waits there, and may be waited at by several."""

    def __init__(self, limits: HandshakeLimits | None = None) -> None:
        self._limits = limits or HandshakeLimits()
        self._entrances: dict[tuple[tuple[str, ...], int], Entrance] = {}

    def listener(self, hosts: tuple[str, ...], port: int, accepted: Collection[str]) -> Listener:
        """Listen on `port` of `hosts` beside whoever does already in this process; raises as `Entrance` does."""
        entrance = self._entrances.get((hosts, port))
        if entrance is None or not entrance.open:
            entrance = self._entrances[hosts, port] = Entrance(hosts, port, self._limits)
        return Listener(entrance, accepted, self._limits)


def _bound_all(hosts: Sequence[str], port: int | None) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    failure = OSError("there is no address to listen on")
    for host in hosts:
        try:
            sockets.append(_bound(host, port or (sockets[0].getsockname()[1] if sockets else 0), insist=bool(port)))
        except OSError as error:
            failure = error
    if not sockets:
        raise failure
    return sockets


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
