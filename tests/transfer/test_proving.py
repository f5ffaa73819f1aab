"""Comparing what both sides hold takes its time: who hashes says so, and is waited for as long as it does."""

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from jetcli.errors import InterruptedTransferError, NotResumableError
from jetcli.protocol.model import Ping, Prefix, TransportSecret
from jetcli.protocol.proof import prefix_proof
from jetcli.transfer import proving

SECRET = TransportSecret(b"k" * 32, b"i" * 12)
CONTENT = b"what both of us hold"
IDLE_S = 0.4


class Slow:
    """A file that can be read once `let` is set."""

    name = "film.mkv"

    def __init__(self):
        self.let = threading.Event()

    def read_into(self, view, offset):
        self.let.wait(10)
        view[:] = CONTENT[offset : offset + len(view)]
        return len(view)


class Session:
    """A session as whoever proves something sees it; an `alive` peer gives signs of life all the time."""

    def __init__(self, file=None, *, alive=False):
        loop = asyncio.get_running_loop()
        self.prefix, self.ended = loop.create_future(), loop.create_future()
        self.said = []
        self._alive = alive
        self._file = file

    def inform(self, note):
        self.said.append(note)
        if self._file is not None and len(self.said) == 3:
            self._file.let.set()

    @property
    def pinged_at(self):
        return asyncio.get_running_loop().time() if self._alive else -1e9


@pytest.fixture
def online():
    with ThreadPoolExecutor(1) as pool:
        yield SimpleNamespace(hashing=pool, network=SimpleNamespace(idle_s=IDLE_S))


async def test_who_hashes_says_so_more_often_than_the_other_side_has_patience(online):
    file = Slow()
    session = Session(file)
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(10):
        await proving.show_prefix(online, session, SECRET, file, len(CONTENT))
    *pings, proof = session.said
    assert pings == [Ping()] * 3
    assert asyncio.get_running_loop().time() - began < 3 * IDLE_S
    assert proof == prefix_proof(SECRET, len(CONTENT), hashlib.sha256(CONTENT).digest())


async def test_a_proof_is_waited_for_as_long_as_the_other_side_is_alive(online, monkeypatch):
    monkeypatch.setattr(proving, "LIFE_S", 0.05)
    file, session = Slow(), Session(alive=True)
    file.let.set()
    demanding = asyncio.ensure_future(proving.demand_prefix(online, session, SECRET, file, len(CONTENT)))
    await asyncio.wait({demanding}, timeout=0.4)
    assert not demanding.done(), "longer than a side may be silent"
    session.prefix.set_result(prefix_proof(SECRET, len(CONTENT), hashlib.sha256(CONTENT).digest()))
    await demanding


async def test_a_side_that_falls_silent_is_given_up(online, monkeypatch):
    monkeypatch.setattr(proving, "LIFE_S", 0.1)
    file = Slow()
    file.let.set()
    with pytest.raises(InterruptedTransferError, match="did not prove in time"):
        await proving.demand_prefix(online, Session(), SECRET, file, len(CONTENT))


@pytest.mark.parametrize(
    "proof",
    [
        prefix_proof(SECRET, len(CONTENT), hashlib.sha256(CONTENT[::-1]).digest()),
        prefix_proof(SECRET, len(CONTENT) - 1, hashlib.sha256(CONTENT[:-1]).digest()),
        prefix_proof(TransportSecret(b"x" * 32, b"i" * 12), len(CONTENT), hashlib.sha256(CONTENT).digest()),
        Prefix(len(CONTENT), b""),
        Prefix(len(CONTENT), bytes(32)),
    ],
    ids=["of other bytes", "of less", "under another secret", "empty", "forged"],
)
async def test_a_proof_that_proves_nothing_ends_it(online, proof):
    file, session = Slow(), Session()
    file.let.set()
    session.prefix.set_result(proof)
    with pytest.raises(NotResumableError, match="has changed since its transfer began"):
        await proving.demand_prefix(online, session, SECRET, file, len(CONTENT))
