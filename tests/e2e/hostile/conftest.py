"""A peer that breaks the rules: jet's own lower layers, with everything it says open to change, against a real `jet`.

The peer has an account on the test server, an OMEMO device and a listener on loopback. What it offers is a sound offer
that the test damages before it is sent; what it puts on the bytestream is whatever the test likes. The other side is
one account for the whole run, whose process runs anew for each test.
"""

import asyncio
import contextlib
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aioxmpp
import pytest
from msgspec.structs import replace

from jetcli.cli.login import keep
from jetcli.protocol import model
from jetcli.protocol.bytestream import dst_addr
from jetcli.protocol.cipher import ChunkedSealer, PlainSealer, stream_key
from jetcli.protocol.quirks import RECEIVING
from jetcli.protocol.transcript import Transcript
from jetcli.state.config import Account
from jetcli.state.paths import Paths
from jetcli.state.store import KeyValues, Store
from jetcli.state.trust import TrustBook
from jetcli.trial.server import Prosody
from jetcli.xmpp import payloads
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.ask import ask
from jetcli.xmpp.connection import Connection, Presence
from jetcli.xmpp.discovery import Discovery
from jetcli.xmpp.jingle_reader import read
from jetcli.xmpp.jingle_writer import write
from jetcli.xmpp.listener import Listener
from jetcli.xmpp.omemo import Omemo
from jetcli.xmpp.omemo_pep import OmemoPep

WAIT_S = 20.0
CONTENT = bytes(range(250)) * 20
SIZE = len(CONTENT)
#: Nothing a terminal obeys, and no character that changes the direction of what follows.
UNSHOWABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Identity:
    """An account of the peer's, with the state of its OMEMO device: both last for the whole run."""

    jid: str
    password: str
    server: Prosody
    store: Store


@dataclass
class Target:
    """The home of the attacked account, shaped like those of `home`; `root` holds it and all that may be harmed."""

    root: Path
    jid: str
    password: str
    server: Prosody

    def make(self) -> None:
        """Make the directories, and write down what `jet login` would."""
        self.path.mkdir(parents=True, mode=0o700)
        self.files.mkdir()
        (self.root / "precious").write_text("precious")
        account = Account(
            "attacked", self.jid, server=(self.server.host, self.server.port), ca_file=self.server.ca_file
        )
        keep(Paths(self.path / "config.toml", self.path / "state"), account, self.password)
        with (self.path / "config.toml").open("a") as config:
            config.write("\n[network]\nloopback = true\n")
        other = self.path / "suspicious.toml"
        other.touch(mode=0o600)
        other.write_text((self.path / "config.toml").read_text() + "\n[trust]\npolicy = 'verified'\n")

    @property
    def path(self) -> Path:
        return self.root / "some" / "where" / "home"

    @property
    def files(self) -> Path:
        return self.root / "some" / "where" / "files"

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def suspicious(self) -> tuple[str, str]:
        """The options under which no key is trusted that was not verified."""
        return "--config", str(self.path / "suspicious.toml")

    def tree(self) -> dict[str, tuple[int, int]]:
        """Everything below `root` except jet's own state: mode and size by path."""
        found = (path for path in self.root.rglob("*") if self.path / "state" not in path.parents)
        return {str(path): (path.lstat().st_mode, path.lstat().st_size if path.is_file() else 0) for path in found}


@pytest.fixture(scope="session")
def cast(server, tmp_path_factory) -> Iterator[dict[str, object]]:
    """The attacked account, and the peer's.

    "old" never spoke the chunked cipher, "jet" always does, "new" is never trusted, "keyless" has no device,
    "stranger" is no contact.
    """
    with contextlib.ExitStack() as stores:
        serial = secrets.token_hex(3)

        def identity(name: str) -> Identity:
            store = stores.enter_context(contextlib.closing(Store.open(tmp_path_factory.mktemp(name) / "state")))
            return Identity(server.add_account(f"{name}{serial}", name), name, server, store)

        root = tmp_path_factory.mktemp("attacked")
        target = Target(root, server.add_account(f"attacked{serial}", "attacked"), "attacked", server)
        target.make()
        people = {name: identity(name) for name in ("old", "jet", "new", "keyless", "stranger")}
        for name in ("old", "jet", "new"):
            server.make_contacts(target.jid, people[name].jid)
        yield {"target": target, **people}


@pytest.fixture
def target(cast) -> Target:
    return cast["target"]


@dataclass
class Peer:
    """The peer online. `heard` are the Jingle actions that were sent to it, whoever sent them.

    `answer` sees each of them before it is acknowledged and may raise a stanza error.
    """

    connection: Connection
    omemo: Omemo | None
    heard: "asyncio.Queue[model.Action]" = field(default_factory=asyncio.Queue)
    answer: Callable[[model.Action], None] = lambda _action: None
    partner: str = ""

    @property
    def jid(self) -> str:
        return self.connection.jid

    async def on_iq(self, iq: aioxmpp.IQ) -> None:
        action = read(iq.payload)
        self.partner = str(iq.from_)
        self.heard.put_nowait(action)
        self.answer(action)

    async def say(self, to: str, jingle: payloads.Jingle) -> None:
        """Send any Jingle stanza; raises StanzaError where it is answered with an error."""
        await ask(self.connection.client, jingle, to, WAIT_S, kind="set")

    async def answers(self, action: model.Action) -> None:
        """Send an action to whom we heard last."""
        await self.say(self.partner, write(action))

    async def hears(self, kind: type) -> model.Action:
        """Wait for an action of this kind, passing over others."""
        async with asyncio.timeout(WAIT_S):
            while True:
                action = await self.heard.get()
                if isinstance(action, kind):
                    return action
                assert not isinstance(action, model.Terminate), action

    async def prepare(self, to: str, cipher=model.Cipher.AES_128_GCM, size=SIZE, **file) -> "Offer":
        """Make a sound offer for the full JID `to`; keywords change the description of the file."""
        sid, transport_sid = secrets.token_hex(8), secrets.token_hex(8)
        secret = model.TransportSecret(secrets.token_bytes(cipher.key_size), secrets.token_bytes(12))
        envelope, _ = await self.omemo.seal(secret, to.partition("/")[0])
        listener = Listener.at(["127.0.0.1"], accepted=[dst_addr(transport_sid, self.jid, to)])
        candidate = model.Candidate("c1", "127.0.0.1", listener.port, self.jid, 8_257_536)
        content = model.Content(
            "initiator",
            "a-file",
            "initiator",
            replace(model.FileDescription(name="report.pdf", size=size, range=model.Range()), **file),
            model.Socks5Transport(transport_sid, (candidate,), dst_addr(transport_sid, self.jid, to)),
            model.Security("a-file", cipher.value, model.NS_OMEMO, envelope),
        )
        return Offer(self, to, sid, content, cipher, secret, listener)


@dataclass
class Offer:
    """An offer of the peer's. Change `jingle`, the stanza, before `send`; then `serve` any bytes."""

    peer: Peer
    to: str
    sid: str
    content: model.Content
    cipher: model.Cipher
    secret: model.TransportSecret
    listener: Listener

    def __post_init__(self) -> None:
        self.jingle = write(model.Initiate(self.sid, self.content, self.peer.jid))
        self.file = self.jingle.contents[0].description.file
        self.security = self.jingle.contents[0].security

    async def send(self) -> "Offer":
        await self.peer.say(self.to, self.jingle)
        return self

    async def send_and_withdraw(self) -> None:
        """Send the offer, and right behind it the end of its session."""
        offered = asyncio.create_task(self.send())
        await asyncio.sleep(0)  # so that it is the first of the two to be queued
        await self.inform(model.Terminate(self.sid, model.Reason("cancel")))
        await offered

    def sealed(self, data: bytes = CONTENT) -> bytearray:
        """Return what belongs on the bytestream."""
        wire = bytearray(len(data) + 16)
        if self.cipher is model.Cipher.CHUNKED:
            transcript = Transcript.of(self.content, sid=self.sid, initiator=self.peer.jid, responder=self.to)
            sealer: ChunkedSealer | PlainSealer = ChunkedSealer(stream_key(self.secret, transcript.digest()))
        else:
            sealer = PlainSealer(self.secret, len(data))
        sealer.seal_into(data, memoryview(wire), final=True)
        return wire

    async def serve(self, wire: bytes) -> None:
        """Wait for the acceptance, put `wire` on the bytestream, and end it."""
        await self.peer.hears(model.Accept)
        sid = self.content.transport.sid
        await self.inform(model.TransportInfo(self.sid, "initiator", "a-file", None, sid, model.CandidateError()))
        channel = await self.listener.connected(WAIT_S)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(channel.sendall, memoryview(wire))
        channel.finish_sending()
        self.channel = channel

    async def inform(self, action: model.Action) -> None:
        await self.peer.say(self.to, write(action))

    async def end(self) -> model.Reason:
        """Wait until the other side ends the session; return its reason."""
        ended = await self.peer.hears(model.Terminate)
        assert ended.sid == self.sid
        return ended.reason


@pytest.fixture
async def online(cast) -> AsyncIterator[Callable[..., Awaitable[Peer]]]:
    """Bring one of the peer's accounts online: `await online("old", features=..., device=False)`."""
    async with AsyncExitStack() as running:

        async def go(name: str, *, features=RECEIVING, device=True) -> Peer:
            who = cast[name]
            settings = AccountSettings(
                who.jid, who.password, (who.server.host, who.server.port), ca_file=who.server.ca_file
            )
            made: list[Peer] = []

            def setup(client: aioxmpp.Client) -> None:
                Discovery(client, features)
                client.summon(OmemoPep)
                peer = Peer(None, None)
                client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payloads.Jingle, peer.on_iq)
                made.append(peer)

            connection = await running.enter_async_context(
                await Connection.open(
                    settings, resource=f"peer.{secrets.token_hex(3)}", presence=Presence(), setup=setup
                )
            )
            peer = made[0]
            peer.connection = connection
            if device:
                book, values = TrustBook(who.store, "btbv"), KeyValues(who.store)
                peer.omemo = await Omemo.start(connection.client, values, book, contextlib.nullcontext)
                running.push_async_callback(peer.omemo.close)
            return peer

        yield go


@pytest.fixture
async def peer(online) -> Peer:
    """The peer as a client that is no jet."""
    return await online("old")


@pytest.fixture
async def jet_peer(online) -> Peer:
    """The peer as a jet."""
    return await online("jet")


_serial = itertools.count(1)


class Victim:
    """A `jet receive` that waits for offers; `inbox` is where it saves."""

    def __init__(self, target: Target, process, inbox: Path, before: dict) -> None:
        self.target = target
        self.process = process
        self.inbox = inbox
        self.jid = process.wait_for(r"Waiting as (\S+)")[1]
        self._before = before

    async def ended(self, code: int, line: str, hint: str = "", *, parts: bool = False) -> None:
        """Wait for its end: this exit code, exactly one error line, which holds `line`, and no file anywhere.

        With `parts` there is one part file, of verified bytes, for another session.
        """
        await asyncio.to_thread(self.process.finished)
        found = {path.name for path in self.inbox.glob(".jet-*.part")} if parts else set()
        assert len(found) == parts
        self.unharmed(found)
        assert self.process.code == code, self.process
        errors = [said for said in self.process.stderr.splitlines() if said.startswith("jet: error: ")]
        assert len(errors) == 1, self.process
        assert line in errors[0], self.process
        assert not hint or f"jet: hint: {hint}" in self.process.stderr, self.process
        assert self.process.stdout == ""

    def unharmed(self, left=frozenset()) -> None:
        """Nothing was written anywhere except `left` in the inbox, and nothing strange was said."""
        assert {path.name for path in self.inbox.iterdir()} == set(left)
        after = {path: what for path, what in self.target.tree().items() if not path.startswith(f"{self.inbox}/")}
        assert after == self._before
        assert "Traceback" not in self.process.stderr
        assert not UNSHOWABLE.search(self.process.stderr + self.process.stdout)


@pytest.fixture
async def receive(jet, target) -> Callable[..., Awaitable[Victim]]:
    """Start `jet receive --accept-all` in a fresh directory, with these options; `suspicious` of every new key."""

    async def start(*options: str, output: str | None = None, suspicious: bool = False) -> Victim:
        inbox = target.files / f"inbox{next(_serial)}"
        inbox.mkdir()
        where = ("-o", f"{inbox.name}/{output}") if output else ("-d", inbox.name)

        def begin() -> Victim:
            config = target.suspicious if suspicious else ()
            before = target.tree()
            process = jet(target, *config, "receive", "--accept-all", *where, *options)
            return Victim(target, process, inbox, before)

        return await asyncio.to_thread(begin)

    return start


@pytest.fixture
async def victim(receive) -> Victim:
    """A `jet receive` that takes one file of any contact."""
    return await receive()
