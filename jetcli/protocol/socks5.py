"""SOCKS5 as bytestreams use it: one CONNECT to a hash, no authentication (RFC 1928, XEP-0065 section 5.3.2).

Two byte machines, sans I/O. Read `wanted` bytes at most, give them to `receive` in any split, act on the events that it
returns, and stop when `wanted` is 0: so not a byte that belongs to the bytestream is ever read by a handshake.
The machines know no time; how long a peer may take is judged by who holds the socket.
"""

import hmac
from collections.abc import Collection, Generator
from enum import IntEnum

from msgspec import Struct

VERSION = 5
NO_AUTHENTICATION = 0x00
NO_ACCEPTABLE_METHOD = 0xFF
CONNECT = 0x01


class AddressType(IntEnum):
    """ATYP of RFC 1928 section 5."""

    IPV4 = 1
    DOMAIN_NAME = 3
    IPV6 = 4


_ADDRESS_TYPES = frozenset(AddressType)


class Reply(IntEnum):
    """REP of RFC 1928 section 6."""

    SUCCEEDED = 0
    NOT_ALLOWED = 2
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class Send(Struct, frozen=True):
    """These bytes go to the other side now."""

    data: bytes


class Established(Struct, frozen=True):
    """The handshake succeeded: from here on the connection is the bytestream `dst_addr`."""

    dst_addr: str


class Refused(Struct, frozen=True):
    """The handshake failed for `reason`; the connection is to be closed."""

    reason: str


Outcome = Established | Refused
Event = Send | Outcome
_Steps = Generator[int, bytes, Outcome]


class _Handshake:
    """A generator that asks for so many bytes and is resumed with exactly these, behind `wanted` and `receive`."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._buffer = bytearray()
        self._steps = self._run()
        self._asked = next(self._steps)

    @property
    def wanted(self) -> int:
        """Bytes that the next `receive` may take at most; 0 when the handshake is over."""
        return self._asked - len(self._buffer)

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the other side; return what follows from them. Raises ValueError for more than `wanted`."""
        if len(data) > self.wanted:
            raise ValueError(f"{len(data)} bytes where {self.wanted} are wanted")
        self._buffer += data
        if self._asked and not self.wanted:
            taken = bytes(self._buffer)
            self._buffer.clear()
            self._advance(taken)
        events, self._events = self._events, []
        return events

    def _advance(self, taken: bytes) -> None:
        try:
            self._asked = self._steps.send(taken)
        except StopIteration as end:
            self._asked = 0
            self._events.append(end.value)

    def _send(self, *data: int, name: str | None = None) -> None:
        address = b"" if name is None else bytes((AddressType.DOMAIN_NAME, len(name))) + name.encode() + bytes(2)
        self._events.append(Send(bytes(data) + address))

    def _run(self) -> _Steps:
        raise NotImplementedError


class ClientHandshake(_Handshake):
    """The side that connects to the bytestream `dst_addr`. `start` gives the first bytes to send."""

    def __init__(self, dst_addr: str) -> None:
        self._dst_addr = dst_addr
        super().__init__()

    def start(self) -> Send:
        """Return the greeting, which offers no authentication and nothing else."""
        return Send(bytes((VERSION, 1, NO_AUTHENTICATION)))

    def _run(self) -> _Steps:
        version, method = yield 2
        if (version, method) != (VERSION, NO_AUTHENTICATION):
            return Refused("the answer is no SOCKS5 without authentication")
        self._send(VERSION, CONNECT, 0, name=self._dst_addr)
        # Dino refuses with these two bytes alone (interop.md section 3): judge them before waiting for more.
        version, reply = yield 2
        if version != VERSION:
            return Refused("the answer is no SOCKS5")
        if reply != Reply.SUCCEEDED:
            return Refused(f"the connection was refused with SOCKS5 code {reply}")
        reserved, kind = yield 2
        if reserved or kind not in _ADDRESS_TYPES:
            return Refused("the answer has no valid address")
        return (yield from self._bound_address(AddressType(kind)))

    def _bound_address(self, kind: AddressType) -> _Steps:
        if kind is AddressType.DOMAIN_NAME:
            (length,) = yield 1
        else:
            length = 4 if kind is AddressType.IPV4 else 16
        address = (yield length + 2)[:-2]
        # XEP-0065 wants the request echoed; a relay may give its own address instead, but no other bytestream's.
        if kind is AddressType.DOMAIN_NAME and not hmac.compare_digest(address, self._dst_addr.encode()):
            return Refused("the answer is for another bytestream")
        return Established(self._dst_addr)


class ServerHandshake(_Handshake):
    """The side that listens, for the bytestreams named by `accepted` (each a DST.ADDR)."""

    def __init__(self, accepted: Collection[str]) -> None:
        self._accepted = tuple(accepted)
        super().__init__()

    def _run(self) -> _Steps:
        version, count = yield 2
        if version != VERSION or not count:
            return Refused("the greeting is no SOCKS5")
        methods = yield count
        if NO_AUTHENTICATION not in methods:
            self._send(VERSION, NO_ACCEPTABLE_METHOD)
            return Refused("the client insists on authentication")
        self._send(VERSION, NO_AUTHENTICATION)
        version, command, reserved, kind = yield 4
        if version != VERSION or reserved:
            return Refused("the request is no SOCKS5")
        if command != CONNECT:
            return self._refused(Reply.COMMAND_NOT_SUPPORTED, "the request is no CONNECT")
        if kind != AddressType.DOMAIN_NAME:
            return self._refused(Reply.ADDRESS_TYPE_NOT_SUPPORTED, "the request names no bytestream")
        (length,) = yield 1
        return self._judged((yield length + 2))

    def _judged(self, request: bytes) -> Outcome:
        address, port = request[:-2], request[-2:]
        # Every accepted address is compared, each in constant time: how long it takes tells nothing about them.
        matches = [hmac.compare_digest(address, accepted.encode()) for accepted in self._accepted]
        if not any(matches) or any(port):
            return self._refused(Reply.NOT_ALLOWED, "the request is for an unknown bytestream")
        name = self._accepted[matches.index(True)]
        self._send(VERSION, Reply.SUCCEEDED, 0, name=name)
        return Established(name)

    def _refused(self, reply: Reply, reason: str) -> Refused:
        # The bound address of a refusal means nothing: an IPv4 address of zeros, as other servers send.
        self._send(VERSION, reply, 0, AddressType.IPV4, *bytes(6))
        return Refused(reason)
