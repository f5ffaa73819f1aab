"""More streams than workers: who has none yet says so, and what has come is published whatever others still send."""

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from streams import Text, pattern

from jetcli.files.sink import Sink
from jetcli.protocol.cipher import CHUNK
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import (
    NS_OMEMO,
    Cipher,
    Content,
    FileDescription,
    PathKind,
    Ping,
    Reason,
    Security,
    TransportSecret,
)
from jetcli.transfer import incoming, outgoing
from jetcli.transfer.account import FINISHERS, WORKERS
from jetcli.transfer.events import FileDone
from jetcli.transfer.incoming import Expected, Incoming
from jetcli.transfer.journal import Unrecorded
from jetcli.transfer.outgoing import Outbound, Outgoing
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.patience import Patience, Turn
from jetcli.transfer.throttle import Throttle
from jetcli.xmpp.channel import SocketChannel

#: More than the kernel takes of a stream that nobody reads; the chunk behind it is held back.
FLOWING = 8 * CHUNK
DATA = pattern(FLOWING + CHUNK)
SECURITY = Security("ft-1", Cipher.CHUNKED.value, NS_OMEMO, None)
SECRET = TransportSecret(bytes(32), bytes(12))
ROMEO, JULIET = "romeo@jet.test/jet.1", "juliet@jet.test/jet.2"
#: The patience of whoever sends to a receiver without a free worker, and of everybody else.
SHORT_S, LONG_S = 0.1, 30.0


class Held(Text):
    """A source whose last chunk cannot be read before `let` is set, as with a pipe."""

    size, resumable, waiting = len(DATA), False, False

    def __init__(self):
        super().__init__(DATA)
        self.let = threading.Event()

    def read_into(self, buffer, offset):
        if offset >= FLOWING:
            self.waiting = True
            assert self.let.wait(60)
            self.waiting = False
        return super().read_into(buffer, offset)

    def stop(self):
        self.let.set()


class Asked(SocketChannel):
    """A channel that notes when its patience is asked for."""

    def __init__(self, connection, *, idle_s):
        self.asked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        super().__init__(connection, idle_s=idle_s)

    @property
    def patience(self):
        self._loop.call_soon_threadsafe(self.asked.set)
        return self._patience

    @patience.setter
    def patience(self, patience):
        self._patience = patience


class Side:
    """One side of a session that has been agreed on, as a transfer sees it; what is said reaches `other`."""

    path, relay = PathKind.DIRECT, None

    def __init__(self, peer, channel, *, initiator):
        loop = asyncio.get_running_loop()
        self.session = SimpleNamespace(peer=peer, sid="s1", initiator=initiator)
        self._channel, self.ended = channel, loop.create_future()
        self.pinged = asyncio.Event()
        self.pinged_at = -1e9
        self.other = None

    def inform(self, note):
        if isinstance(note, Ping):
            self.other.pinged_at = asyncio.get_running_loop().time()
            self.other.pinged.set()

    def terminate(self, condition):
        self.end_for(Reason(condition))

    def end_for(self, reason):
        for side in (self, self.other):
            if not side.ended.done():
                side.ended.set_result(Ended(reason, by_peer=side is self.other))

    async def take_channel(self):
        return self._channel

    def first_byte(self):
        pass

    await_confirmation = first_byte


class Transfer:
    """One file on its way from Romeo to Juliet."""

    def __init__(self, juliet, romeo, number, directory, *, idle_s):
        ends = socket.socketpair()
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHUNK)
        self.outlet, inlet = Asked(ends[0], idle_s=idle_s), SocketChannel(ends[1], idle_s=LONG_S)
        self.ours, self.theirs = Side(JULIET, self.outlet, initiator=True), Side(ROMEO, inlet, initiator=False)
        self.ours.other, self.theirs.other = self.theirs, self.ours
        self.source = Held()
        self._file = directory / f"{number}.bin"
        self._number, self._juliet, self._romeo = number, juliet, romeo
        file = FileDescription(name=self._file.name, size=len(DATA))
        self._content = Content("initiator", "ft-1", "initiator", file, security=SECURITY)

    def receive(self):
        sink = Sink.create(self._file.parent, self._file.name, f"k{self._number}", size=len(DATA))
        expected = Expected(
            id="k3v9", name=self._file.name, size=len(DATA), date=None, cipher=Cipher.CHUNKED, secret=SECRET
        )
        receiving = Incoming(
            self._juliet,
            lambda _event: None,
            self.theirs,
            expected=expected,
            sink=sink,
            journal=Unrecorded(None, "k3v9"),
            mailbox=Mailbox(),
        )

        async def begin():
            return incoming.Begun(self._content)

        self.receiving = asyncio.ensure_future(receiving.run(begin))

    def send(self):
        out = Outbound(id="k3v9", source=self.source, cipher=Cipher.CHUNKED)
        sending = Outgoing(self._romeo, lambda _event: None, JULIET, out, Mailbox())

        async def begin():
            return outgoing.Begun(self.ours, self._content, SECRET)

        self.sending = asyncio.ensure_future(sending.run(begin))

    @property
    def is_here(self):
        return self._file.exists() and self._file.read_bytes() == DATA


@pytest.fixture
def online():
    """Make what a transfer needs of an account: `online(JULIET, workers=4)`."""
    with ExitStack() as stack:

        def make(jid, *, workers):
            pool, finishing = (stack.enter_context(ThreadPoolExecutor(count)) for count in (workers, FINISHERS))
            network = SimpleNamespace(idle_s=LONG_S)
            return SimpleNamespace(
                jid=jid, pool=pool, finishing=finishing, network=network, throttle=Throttle(None), transfers=None
            )

        yield make


@pytest.fixture
async def transfers(online, tmp_path):
    """As many slow transfers as there are workers, on their way, and one more."""
    juliet, romeo = online(JULIET, workers=WORKERS), online(ROMEO, workers=2 * WORKERS)
    every = [
        Transfer(juliet, romeo, number, tmp_path, idle_s=SHORT_S if number == WORKERS else LONG_S)
        for number in range(WORKERS + 1)
    ]
    for each in every[:-1]:
        each.receive()
        each.send()
    yield every
    for each in every:
        each.source.stop()
    await asyncio.gather(*(each.sending for each in every), *(each.receiving for each in every))


async def test_a_stream_without_a_worker_is_waited_for_and_comes_when_one_is_free(transfers):
    *slow, queued = transfers
    queued.receive()
    async with asyncio.timeout(30):
        await queued.ours.pinged.wait()
        queued.send()
        await queued.outlet.asked.wait()
        slow[0].source.let.set()
        queued.source.let.set()
        assert isinstance(await queued.sending, FileDone)
    assert queued.is_here
    assert not any(each.receiving.done() for each in slow[1:])


async def test_what_has_come_is_published_although_every_worker_has_another_stream(transfers):
    first, *_, queued = transfers
    queued.receive()
    async with asyncio.timeout(30):
        await queued.ours.pinged.wait()
        queued.send()
        first.source.let.set()
        assert isinstance(await first.receiving, FileDone)
        assert isinstance(await first.sending, FileDone)
    assert first.is_here
    assert not any(each.receiving.done() for each in transfers[1:])


async def test_who_has_waited_for_a_worker_says_so_until_one_begins(monkeypatch):
    said = []
    turn = Turn()
    patience = Patience(SimpleNamespace(inform=said.append), SimpleNamespace(), turn, idle_s=0.0)
    monkeypatch.setattr("jetcli.transfer.patience._AT_ONCE_S", LONG_S)
    patience.look()
    assert not said, "a free worker may still begin at once"
    monkeypatch.setattr("jetcli.transfer.patience._AT_ONCE_S", 0.0)
    patience.look()
    assert said == [Ping()]
    turn.begin()
    patience.look()
    assert said == [Ping()]
