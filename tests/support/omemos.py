"""Two people with OMEMO and the little of a server that it needs."""

import asyncio
import contextlib
import contextvars
import dataclasses
from collections import Counter, defaultdict

from jetcli.errors import UnavailableError
from jetcli.protocol.device import Trust
from jetcli.protocol.model import TransportSecret
from jetcli.xmpp.omemo_payloads import Encrypted
from jetcli.xmpp.omemo_pep import Received

ROMEO, JULIET, MALLORY = "romeo@montague.example", "juliet@capulet.example", "mallory@evil.example"
SECRET = TransportSecret(b"sixteen byte key", b"twelve bytes")


LONG_SECRET = TransportSecret(b"a key of all of thirty-two bytes", b"other twelve")


class World:
    """The servers: what is published, who is online, and which messages get lost; `readable` are those for people."""

    def __init__(self):
        self.lists = {}
        self.bundles = {}
        self.online = defaultdict(list)
        self.sent = []
        self.readable = []
        self.asked = []
        self.published = Counter()
        self.lose = False
        self.down = False


class Pep:
    """One client's access to the world; insists that nobody waits for the network in the middle of an operation."""

    def __init__(self, world, jid, memory):
        self.world, self.jid, self.memory = world, jid, memory
        self.inbox = asyncio.Queue()
        world.online[jid].append(self)

    async def _round_trip(self, *, locked=False):
        assert not self.memory.in_transaction
        assert locked or not _holding.get()
        if self.world.down:
            raise UnavailableError("no answer")
        await asyncio.sleep(0)

    async def device_list(self, bare_jid):
        await self._round_trip(locked=bare_jid == self.jid)
        return self.world.lists.get(bare_jid, ())

    async def bundle(self, bare_jid, device_id):
        await self._round_trip()
        self.world.asked.append((bare_jid, device_id))
        return self.world.bundles.get((bare_jid, device_id))

    async def publish_device_list(self, ids):
        await self._round_trip(locked=True)
        self.world.published["list"] += 1
        self.world.lists[self.jid] = tuple(ids)

    async def publish_bundle(self, device_id, keys):
        await self._round_trip(locked=True)
        self.world.published["bundle"] += 1
        self.world.bundles[self.jid, device_id] = keys

    async def send(self, to, envelope, *, visible=False):
        await self._round_trip()
        (self.world.readable if visible else self.world.sent).append((to, envelope))
        if self.world.lose:
            return
        for pep in self.world.online[to.partition("/")[0]]:
            pep.inbox.put_nowait(Received(f"{self.jid}/jet", Encrypted.from_envelope(envelope).envelope()))


#: Whether this task, or the one that started it, holds its account's lock.
_holding = contextvars.ContextVar("holding", default=False)


class Lock:
    """The lock of an account between its processes."""

    def __init__(self):
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def __call__(self):
        async with self._lock:
            _holding.set(True)
            try:
                yield
            finally:
                _holding.set(False)


@dataclasses.dataclass
class Judgement:
    trust: Trust
    first_time: bool
    stops: bool = False


class Book:
    """Blind trust; tests write what the user decided."""

    def __init__(self):
        self.levels = {}

    def judge(self, jid, identity_key, *, own_account, now):
        assert now == 1000.0
        first = (jid, identity_key) not in self.levels
        level = self.levels.setdefault((jid, identity_key), Trust.UNDECIDED if own_account else Trust.BLIND)
        return Judgement(level, first)

    def level(self, jid, identity_key):
        return self.levels.get((jid, identity_key))


async def quiet(*jets):
    """Return when nothing is under way between `jets` any more."""
    while any(jet._device._tasks or jet.pep.inbox._unfinished_tasks for jet in jets):
        for jet in jets:
            await asyncio.gather(*jet._device._tasks)
            await jet.pep.inbox.join()
        await asyncio.sleep(0)


async def transfer(sender, receiver, secret=SECRET):
    envelope, _ = await sender.seal(secret, receiver.jid)
    opened = await receiver.open(envelope, f"{sender.jid}/jet")
    await quiet(sender, receiver)
    return opened
