"""Every session of a transfer has a secret of its own: no pair of key and IV ever repeats."""

import asyncio
from types import SimpleNamespace

import pytest

from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import Cipher, Content, Envelope, FileDescription, InbandTransport, Range
from jetcli.state.transfers import RecordedIdentity, TransferRecord
from jetcli.transfer.collection import Collection
from jetcli.transfer.delivery import Delivery

RESUMES = 1000
DEVICE = Device("juliet@capulet.example", 1, b"k" * 32, Trust.BLIND)
RECORD = TransferRecord(
    "k3v9", "receive", "first", DEVICE.jid, DEVICE.identity_key, "film.mkv", 10, None, None, "/in", True, 1.0, 1.0
)


class World:
    """An account whose peer agrees to everything; keeps what was sealed and what was sent."""

    def __init__(self):
        self.secrets, self.sent = [], []
        self.omemo = self
        self.network = SimpleNamespace(path="ibb")
        self.peer = SimpleNamespace(jid=f"{DEVICE.jid}/jet", abilities=SimpleNamespace(inband=True, socks5=False))

    async def seal(self, secret, _jid):
        self.secrets.append(secret)
        return Envelope(1, secret.iv), (DEVICE,)

    def negotiation(self):
        async def accepted():
            file = FileDescription("film.mkv", 10, range=Range(4))
            return Content("initiator", "c", None, file, InbandTransport("i", 4096))

        return SimpleNamespace(initiate=self.sent.append, accepted=accepted())


async def asked(world):
    work = Collection(world, lambda _event: None, "k3v9", None)
    return await work._accepted(RECORD, 4, world.peer, world.negotiation())


async def offered(world):
    identity = RecordedIdentity(1, 2, 10, 4, 5)
    source = SimpleNamespace(size=10, identity=SimpleNamespace(**identity._asdict()))
    work = Delivery(world, lambda _event: None, "k3v9", None)
    return await work._accepted(RECORD, source, world.peer, world.negotiation())


@pytest.mark.parametrize("propose", [asked, offered])
async def test_no_secret_repeats_over_a_thousand_resumes(propose):
    world = World()
    await asyncio.gather(*(propose(world) for _ in range(RESUMES)))
    pairs = {(secret.key, secret.iv) for secret in world.secrets}
    assert len(pairs) == len({key for key, _ in pairs}) == len({iv for _, iv in pairs}) == RESUMES
    assert all(len(secret.key) == Cipher.CHUNKED.key_size for secret in world.secrets)
    assert {content.transfer for content in world.sent} == {"first"}
