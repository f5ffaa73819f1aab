"""One stream on its way in, over a line that is an array: what is compared before the file gets its name."""

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from streams import Wire

from jetcli.errors import DeclinedError, IntegrityError, InterruptedTransferError
from jetcli.files.sink import Sink
from jetcli.protocol.cipher import ChunkedSealer, stream_key
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import (
    NS_OMEMO,
    Checksum,
    Cipher,
    Content,
    Envelope,
    FileDescription,
    Hash,
    InbandTransport,
    PathKind,
    Reason,
    Security,
    TransportSecret,
)
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers, TransferState
from jetcli.transfer import incoming, proving
from jetcli.transfer import outcome as outcome_module
from jetcli.transfer.events import FileDone
from jetcli.transfer.incoming import Begun, Expected, Incoming
from jetcli.transfer.journal import Journal
from jetcli.transfer.ownership import Mailbox
from jetcli.xmpp.negotiation import OfferWithdrawn

CONTENT = bytes(range(250)) * 4
SIZE, HELD = len(CONTENT), 600
SHA256 = hashlib.sha256(CONTENT).digest()
OTHER = hashlib.sha256(b"something else").digest()
SECRET = TransportSecret(b"k" * 32, b"i" * 12)
ROMEO = Device("romeo@montague.example", 1, b"k" * 32, Trust.BLIND)
FILE = FileDescription("film.mkv", SIZE)


class Line(Wire):
    """A channel that may be closed."""

    def close(self):
        """Do nothing: it is an array."""

    abort = close


class Session:
    """A session as a receiver sees it, in which the sender says this checksum."""

    def __init__(self, checksum=None):
        loop = asyncio.get_running_loop()
        self.session = SimpleNamespace(peer=f"{ROMEO.jid}/jet", sid="second", initiator=False)
        self.channel, self.checksum, self.ended = (loop.create_future() for _ in range(3))
        if checksum is not None:
            self.checksum.set_result(Checksum((Hash("sha-256", checksum),)))
        self.path, self.relay, self.pinged_at = PathKind.DIRECT, None, 0.0
        self.said = []
        self.first_byte = lambda: None
        self.take_channel = lambda: self.channel
        self.inform = self.terminate = self.end_for = self.said.append


@pytest.fixture
def online(tmp_path):
    with Store.open(tmp_path / "state") as store, ThreadPoolExecutor(2) as pool:
        yield SimpleNamespace(
            jid="juliet@capulet.example/jet",
            transfers=Transfers(store),
            pool=pool,
            hashing=pool,
            finishing=pool,
            network=SimpleNamespace(idle_s=60.0),
            throttle=SimpleNamespace(slowed=lambda channel: channel, waiting=False),
        )


@pytest.fixture
def rest(online, inbox):
    """Let the rest of a file come in: `rest(content, Session(), sha256=...)` is the work, not begun."""

    def come(content=CONTENT, session=None, *, held=HELD, size=SIZE, kind=Sink, withdrawn=None, **expected):
        session = session or Session()
        sink = kind.create(inbox, "film.mkv", "k3v9", size=size)
        sink.write(memoryview(CONTENT[:held]))
        common = {"path": inbox, "part": sink.part, "part_inode": sink.part_inode, "devices": [ROMEO]}
        journal = Journal.begin(
            online.transfers,
            "k3v9",
            direction="receive",
            sid="first",
            peer=ROMEO.jid,
            file=FILE,
            chunked=True,
            **common,
        )
        work = Incoming(
            online,
            lambda _event: None,
            session,
            expected=Expected("k3v9", "film.mkv", size, None, Cipher.CHUNKED, SECRET, continued=held > 0, **expected),
            sink=sink,
            journal=journal,
            mailbox=Mailbox(),
        )
        security = Security("a-file", Cipher.CHUNKED.value, NS_OMEMO, Envelope(1, SECRET.iv))
        offer = Content("initiator", "a-file", "initiator", FILE, InbandTransport("i", 4096), security)
        wire = bytearray(len(content) - held + 16)
        sealer = ChunkedSealer(stream_key(SECRET, work._transcript(offer)))
        sealer.seal_into(content[held:], memoryview(wire), final=True)
        session.channel.set_result(Line(bytes(wire)))

        async def begin():
            if withdrawn is not None:
                raise OfferWithdrawn(withdrawn)
            return Begun(offer)

        return work.run(begin)

    return come


def state(online):
    return online.transfers.get("k3v9").state


def listing(inbox):
    return sorted(path.name for path in inbox.iterdir())


@pytest.mark.parametrize("held", [0, HELD])
async def test_prefix_and_rest_together_have_the_digest_that_was_asked_for(rest, inbox, held):
    done = await rest(held=held, sha256=SHA256)
    assert isinstance(done, FileDone)
    assert (done.verified, done.sha256, done.size) == ("chunks+checksum", SHA256.hex(), len(CONTENT))
    assert (inbox / "film.mkv").read_bytes() == CONTENT


@pytest.mark.parametrize("held", [0, HELD])
@pytest.mark.parametrize(
    "content", [CONTENT[:-1] + b"!", bytes(len(CONTENT))], ids=["another-last-byte", "another-file"]
)
async def test_what_has_another_digest_than_was_asked_for_is_not_saved(rest, online, inbox, held, content):
    outcome = await rest(content, held=held, sha256=SHA256)
    assert isinstance(outcome.error, IntegrityError)
    assert outcome.error.exit_code == 12
    assert (outcome.kept, listing(inbox), state(online)) == (False, [], TransferState.FAILED)


async def test_a_promised_checksum_is_compared_with_prefix_and_rest(rest, online, inbox):
    done = await rest(session=Session(SHA256), checksum=True)
    assert (done.verified, done.sha256, listing(inbox)) == ("chunks+checksum", SHA256.hex(), ["film.mkv"])
    assert online.transfers.get("k3v9").sha256 == SHA256


async def test_a_promised_checksum_that_differs_is_the_end_of_the_part(rest, online, inbox):
    outcome = await rest(session=Session(OTHER), checksum=True)
    assert isinstance(outcome.error, IntegrityError)
    assert (outcome.kept, listing(inbox), online.transfers.get("k3v9").sha256) == (False, [], None)


async def test_a_promised_checksum_of_a_kind_that_nobody_can_compare_is_the_end_of_the_part(rest, inbox):
    session = Session()
    session.checksum.set_result(Checksum((Hash("md5", bytes(16)),)))
    outcome = await rest(session=session, checksum=True)
    assert isinstance(outcome.error, IntegrityError)
    assert (outcome.kept, listing(inbox)) == (False, [])


@pytest.mark.parametrize("held", [0, HELD])
async def test_a_file_whose_promised_checksum_is_not_told_in_time_is_kept_for_a_session_that_tells_it(
    rest, online, inbox, monkeypatch, held
):
    monkeypatch.setattr(incoming, "CHECKSUM_S", 0.01)
    monkeypatch.setattr(proving, "LIFE_S", 0.01)
    monkeypatch.setattr(outcome_module, "_LAST_WORD_S", 0.01)
    outcome = await rest(held=held, checksum=True)
    assert isinstance(outcome.error, InterruptedTransferError)
    assert (outcome.error.exit_code, outcome.kept, outcome.transient) == (10, True, True)
    assert (listing(inbox), state(online)) == ([".jet-k3v9.part"], TransferState.INTERRUPTED)
    assert (inbox / ".jet-k3v9.part").read_bytes() == CONTENT


async def test_the_byte_that_is_fetched_again_for_the_sake_of_the_checksum_is_no_progress(rest, monkeypatch):
    monkeypatch.setattr(proving, "LIFE_S", 0.01)
    monkeypatch.setattr(outcome_module, "_LAST_WORD_S", 0.01)
    assert not (await rest(held=SIZE - 1, checksum=True)).moved


@pytest.mark.parametrize(("held", "kept"), [(0, False), (HELD, True)])
async def test_an_offer_that_is_withdrawn_leaves_what_had_come_before_it(rest, inbox, held, kept):
    outcome = await rest(held=held, withdrawn=Ended(Reason("cancel"), by_peer=True))
    assert (outcome.withdrawn, outcome.kept, outcome.transient) == (True, kept, False)
    assert listing(inbox) == [".jet-k3v9.part"] * kept


async def test_a_session_that_we_had_ended_ourselves_was_not_withdrawn(rest):
    outcome = await rest(withdrawn=Ended(Reason("connectivity-error"), by_peer=False))
    assert (outcome.withdrawn, outcome.kept) == (False, True)


async def test_more_than_is_taken_is_declined_although_a_part_of_it_had_come_before(rest, online, inbox):
    outcome = await rest(size=None, most=HELD + 100)
    assert isinstance(outcome.error, DeclinedError)
    assert outcome.error.message == "'film.mkv' is larger than --max-size"
    assert (outcome.kept, listing(inbox), state(online)) == (False, [], TransferState.FAILED)


class Slow(Sink):
    """A part that is published once `let` is set."""

    publishing, let = threading.Event(), threading.Event()

    def publish(self, mtime=None):
        self.publishing.set()
        self.let.wait(10)
        return super().publish(mtime)


async def test_a_file_that_is_being_published_is_saved_and_recorded_however_often_we_are_stopped(rest, online, inbox):
    task = asyncio.create_task(rest(kind=Slow))
    await asyncio.to_thread(Slow.publishing.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.wait({task}, timeout=0)
    assert not task.done()
    Slow.let.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (listing(inbox), state(online)) == (["film.mkv"], TransferState.DONE)
