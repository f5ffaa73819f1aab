"""What tests of every layer may ask for: a real server, fresh accounts on it, and a connection that goes wrong."""

import asyncio
import itertools
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import jsonschema
import pytest

from jetcli.cli.topics import event_schema
from jetcli.trial.certificates import Authority
from jetcli.trial.server import Prosody, throwaway_directory

# Shells start what runs in the background, and nohup what it starts, with signals that are ignored, and so would be the
# processes of the tests. A handler, unlike that, is not handed on.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number is signal.SIGINT else lambda *_: None)


@dataclass(frozen=True)
class Account:
    """An account that no other test uses."""

    jid: str
    password: str
    server: Prosody

    @property
    def address(self) -> tuple[str, int]:
        return self.server.host, self.server.port


@pytest.fixture(scope="session")
def valid_event() -> Callable[[dict], dict]:
    """Check an event of `--json` against the schema that is promised, and that it says nothing besides; return it."""
    schema = event_schema()
    validator = jsonschema.Draft202012Validator(schema)

    def check(event: dict) -> dict:
        problems = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]
        known = {*schema["required"], *schema["$defs"].get(event.get("type"), {}).get("properties", {})}
        problems += [f"{name} is in no schema" for name in set(event) - known]
        assert not problems, (event, problems)
        return event

    return check


@pytest.fixture(scope="session")
def authority() -> Authority:
    """A certificate authority that lives as long as the test run."""
    return Authority.fresh()


@pytest.fixture(scope="session")
def server(authority) -> Iterator[Prosody]:
    """One Prosody a test process, with the domains jet.test and other.test; tests share it, but no account on it."""
    with (
        throwaway_directory("jet-test-") as directory,
        Prosody(directory / "prosody", ("jet.test", "other.test"), authority=authority) as running,
    ):
        yield running


@pytest.fixture
def another_server(authority) -> Iterator[Callable[..., Prosody]]:
    """Start a Prosody with settings of its own: `another_server(("a.test",), password_hash="SHA-1", settings=...)`."""
    with ExitStack() as running:

        def start(domains=("jet.test",), **kwargs) -> Prosody:
            directory = running.enter_context(throwaway_directory("jet-test-"))
            return running.enter_context(Prosody(directory / "prosody", domains, **{"authority": authority} | kwargs))

        yield start


class _Names(asyncio.DatagramProtocol):
    """Answer for `ports` (domain to port): every domain is on loopback, its server listens on its port."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports = ports

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question, recursion_available=True)
        asked = question.question[0]
        name = asked.name.to_text(omit_final_dot=True).lower()
        host = name.removeprefix("_xmpp-server._tcp.")
        if host not in self.ports:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif host == name and asked.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(asked.name, 5, "IN", "A", "127.0.0.1"))
        elif host != name and asked.rdtype == dns.rdatatype.SRV:
            answer.answer.append(dns.rrset.from_text(asked.name, 5, "IN", "SRV", f"0 0 {self.ports[host]} {host}."))
        self.transport.sendto(answer.to_wire(), addr)


@pytest.fixture
def two_servers(another_server) -> Iterator[tuple[Prosody, Prosody]]:
    """Two Prosodies, of montague.test and capulet.test, that find each other by a name server of their own."""
    ports: dict[str, int] = {}
    loop = asyncio.new_event_loop()
    names, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(lambda: _Names(ports), local_addr=("127.0.0.1", 0))
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        dns_port = names.get_extra_info("sockname")[1]
        servers = tuple(another_server((domain,), dns_port=dns_port) for domain in ("montague.test", "capulet.test"))
        ports |= {
            domain: server.ports.server
            for server in servers
            for name in server.domains
            for domain in (name, f"proxy.{name}")
        }
        yield servers
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        names.close()
        loop.close()


_serial = itertools.count(1)


@pytest.fixture
def account(server) -> Callable[..., Account]:
    """Make an account: `account("romeo", contacts=[juliet])`. Contacts only before the first login of either."""

    def make(name: str = "romeo", *, contacts=(), on: Prosody = server, domain: str | None = None) -> Account:
        password = f"{name}'s password"
        jid = on.add_account(f"{name}{next(_serial)}", password, domain)
        for contact in contacts:
            on.make_contacts(jid, contact.jid)
            if contact.server is not on:
                contact.server.make_contacts(contact.jid, jid)
        return Account(jid, password, on)

    return make


class Faulty:
    """A TCP connection to `target` that goes wrong as told; every attribute may be changed while bytes flow.

    `rate` limits the bytes a second of each way, `delay_s` is the latency of each way. After `cut_after` bytes (both
    ways counted together) every connection ends; after `stall_after` bytes nothing moves until `move()`. With `reset`
    an end is an RST instead of a FIN. With `refuse` new connections end at once. `carried` counts what was passed on;
    where `keeps` is a bytearray it holds all of that.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.rate: float | None = None
        self.delay_s = 0.0
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.reset = False
        self.refuse = False
        self.carried = 0
        self.keeps: bytearray | None = None
        self.connections = 0
        self.port = 0
        self._moving = asyncio.Event()
        self._moving.set()
        self._stalled = threading.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._closing = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._listening = threading.Event()
        self._changed = threading.Condition()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def connected(self, times: int, timeout_s: float = 20.0) -> None:
        """Wait until so many connections have been made, refused ones included."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.connections >= times, timeout_s), self.connections

    def cut(self) -> None:
        """End every connection now."""
        self._loop.call_soon_threadsafe(self._cut)

    def stall(self) -> None:
        """Pass nothing on from now; the connections stay open."""
        self._loop.call_soon_threadsafe(self._moving.clear)

    def wait_until_stalled(self) -> None:
        """Wait until `stall_after` bytes have passed and nothing moves any more."""
        assert self._stalled.wait(300), "the bytes never came so far"

    def move(self) -> None:
        """End a stall."""
        self.stall_after = None
        self._loop.call_soon_threadsafe(self._moving.set)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        sock = socket.socket()
        # As every connection that it takes: a kernel would by itself let up to 32 MB wait here, more than half a film.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)
        sock.bind(("127.0.0.1", 0))
        listener = await asyncio.start_server(self._serve, sock=sock)
        self.port = sock.getsockname()[1]
        self._listening.set()
        await self._closing.wait()
        listener.close()
        self._cut()

    async def _serve(self, near: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()
        self._writers.add(near_writer)
        if self.refuse:
            self._cut()
            return
        try:
            far, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            near_writer.transport.abort()
            return
        self._writers.add(far_writer)
        try:
            await asyncio.gather(self._pass_on(near, far_writer), self._pass_on(far, near_writer))
        except* OSError:
            pass
        finally:
            for writer in (near_writer, far_writer):
                self._writers.discard(writer)
                writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take(reader, queue))
            tasks.create_task(self._give(queue, writer))

    async def _take(self, reader: asyncio.StreamReader, queue: asyncio.Queue) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(16_384)
            except OSError:
                data = b""
            await queue.put((self._loop.time() + self.delay_s, data))

    async def _give(self, queue: asyncio.Queue, writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - self._loop.time())
            if not data:
                writer.write_eof()
                return
            while data:
                piece, data = self._split(data)
                await self._moving.wait()
                writer.write(piece)
                if self.keeps is not None:
                    self.keeps += piece
                await writer.drain()
                await self._count(len(piece))

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """Split `data` where the next cut or stall is due."""
        edges = [edge - self.carried for edge in (self.cut_after, self.stall_after) if edge is not None]
        first = min((edge for edge in edges if edge > 0), default=len(data))
        return data[:first], data[first:]

    async def _count(self, size: int) -> None:
        self.carried += size
        if self.stall_after is not None and self.carried >= self.stall_after:
            self._moving.clear()
            self._stalled.set()
        if self.cut_after is not None and self.carried >= self.cut_after:
            self._cut()
        if self.rate:
            await asyncio.sleep(size / self.rate)

    def _cut(self) -> None:
        for writer in self._writers:
            if self.reset:
                end = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()


@pytest.fixture
def faulty() -> Iterator[Callable[..., Faulty]]:
    """Put a connection that can go wrong in front of an address: `faulty(("127.0.0.1", port), cut_after=1000)`."""
    with ExitStack() as open_ones:

        def make(target: tuple[str, int], **faults) -> Faulty:
            connection = Faulty(target)
            for name, value in faults.items():
                assert hasattr(connection, name), name
                setattr(connection, name, value)
            return open_ones.enter_context(connection)

        yield make
