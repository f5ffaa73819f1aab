"""What tests of the xmpp layer may ask for: state in memory, clients that are online, a server that follows a script.

The loop of a test that is `online` must keep quiet.
"""

import asyncio
import contextlib
import dataclasses
import gc
import logging
import random
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from inbands import Bench
from omemos import JULIET, ROMEO, Book, Lock, Pep, World

from jetcli.trial.certificates import Leaf
from jetcli.xmpp.connection import AccountSettings, Connection, Presence, new_resource
from jetcli.xmpp.omemo import Omemo


class Memory(dict):
    """Key-values that live as long as the test; `in_transaction` says whether somebody is changing them."""

    in_transaction = False

    load = dict.get
    store = dict.__setitem__

    def delete(self, key: str) -> None:
        self.pop(key, None)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        assert not self.in_transaction
        self.in_transaction = True
        try:
            yield
        finally:
            self.in_transaction = False


@pytest.fixture
def new_memory() -> Callable[[], Memory]:
    """Make empty key-values."""
    return Memory


WAIT_S = 20.0


@pytest.fixture
async def noise(caplog) -> AsyncIterator[list[object]]:
    """Whatever the loop or a library complains of in this test; there must be nothing."""
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
    caplog.set_level(logging.WARNING)
    yield heard
    gc.collect()
    await asyncio.sleep(0)
    # Other threads have servers of the tests' own, and loops of their own.
    heard += [record.getMessage() for record in caplog.records if record.thread == threading.get_ident()]
    assert not heard


@pytest.fixture
def settings_of() -> Callable[..., AccountSettings]:
    """Tell how to reach an account's server; keywords change single settings."""

    def make(account, *, direct_tls: bool = False, **changes) -> AccountSettings:
        server = account.server
        port = server.direct_tls_port if direct_tls else server.port
        usual = AccountSettings(
            account.jid, account.password, (server.host, port), direct_tls=direct_tls, ca_file=server.ca_file
        )
        return dataclasses.replace(usual, **changes)

    return make


@pytest.fixture
async def online(noise, settings_of) -> AsyncIterator[Callable[..., Awaitable[Connection]]]:
    """Bring an account online: `await online(romeo, show_xa=True, setup=...)`; it leaves when the test ends."""
    async with AsyncExitStack() as connections:

        async def go(account, *, resource=None, show_xa=False, setup=lambda _client: None, **changes) -> Connection:
            settings = account if isinstance(account, AccountSettings) else settings_of(account, **changes)
            connection = await Connection.open(
                settings,
                resource=resource or new_resource(random.Random()),
                presence=Presence(show_xa=show_xa),
                setup=setup,
            )
            return await connections.enter_async_context(connection)

        yield go


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition holds."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110  # any condition: most have no event
                await asyncio.sleep(0.005)

    return wait


@dataclass
class Scripted:
    """A server that says what it is told and remembers what it heard.

    `script` maps a text that the client sends to the answer; each is used once a connection.
    """

    script: dict[str, str]
    port: int = 0
    heard: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = dict(self.script)
        try:
            while data := await reader.read(65_536):
                self.heard += data
                for cue in [cue for cue in answers if cue.encode() in data]:
                    writer.write(answers.pop(cue).encode())
        except OSError:
            pass
        finally:
            writer.close()


HEADER = (
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    "version='1.0' id='1' from='jet.test'>"
)


@pytest.fixture
async def scripted(tmp_path) -> AsyncIterator[Callable[..., Awaitable[Scripted]]]:
    """Start a scripted server for jet.test; with `leaf` it begins with TLS and shows that certificate."""
    async with AsyncExitStack() as servers:

        async def start(features: str, *, leaf: Leaf | None = None, tls=lambda context: None, **answers) -> Scripted:
            greeting = f"{HEADER}<stream:features>{features}</stream:features>"
            playing = Scripted({"<stream:stream": greeting} | answers)
            context = None
            if leaf is not None:
                files = tmp_path / "leaf.pem"
                files.write_bytes(leaf.certificate + leaf.key)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(files)
                tls(context)
            listener = await asyncio.start_server(playing.serve, "127.0.0.1", 0, ssl=context)
            servers.callback(listener.close)
            playing.port = listener.sockets[0].getsockname()[1]
            return playing

        yield start


@pytest.fixture
async def bench():
    """Make benches, whose channels are closed after the test."""
    made = []

    def make(*arguments, **options):
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.channel.close()
        await each.released.wait()


@pytest.fixture
def world():
    """Return the server that the people with OMEMO share."""
    return World()


@pytest.fixture
async def start(world, new_memory):
    """Start a jet: `start(ROMEO)`; `start(ROMEO, like=other)` shares the other's state, as a second process does.

    Everybody is a contact of it, unless `is_close` says otherwise.
    """
    running = []

    async def begin(jid, *, like=None, is_close=lambda _jid: True):
        memory = like.memory if like else new_memory()
        book = like.book if like else Book()
        lock = like.lock if like else Lock()
        pep = Pep(world, jid, memory)
        jet = await Omemo.begin(pep, jid, memory, book, lock, is_close=is_close, now=lambda: 1000.0)
        jet.memory, jet.book, jet.lock, jet.pep, jet.jid = memory, book, lock, pep, jid
        jet.met = []
        jet.on_new_device = jet.met.append
        running.append(jet)
        return jet

    yield begin
    for jet in running:
        await jet.close()


@pytest.fixture
async def romeo(start):
    """Return a jet of Romeo."""
    return await start(ROMEO)


@pytest.fixture
async def juliet(start):
    """Return a jet of Juliet."""
    return await start(JULIET)
