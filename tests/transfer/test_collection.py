"""A file of which every byte has come in earlier sessions: what it has to be before it gets its name."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from jetcli.errors import IntegrityError
from jetcli.files.sink import Sink
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import FileDescription
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers, TransferState
from jetcli.transfer.collection import Collection
from jetcli.transfer.events import FileDone
from jetcli.transfer.journal import Journal
from jetcli.transfer.outcome import Broken
from jetcli.transfer.ownership import Mailbox

CONTENT = b"the real thing"
SHA256 = hashlib.sha256(CONTENT).digest()
ROMEO = Device("romeo@montague.example", 1, b"k" * 32, Trust.BLIND)


@pytest.fixture
def inbox(tmp_path):
    made = tmp_path / "inbox"
    made.mkdir()
    return made


@pytest.fixture
def online(tmp_path):
    with Store.open(tmp_path / "state") as store, ThreadPoolExecutor(2) as pool:
        yield SimpleNamespace(transfers=Transfers(store), pool=pool, network=SimpleNamespace(idle_s=60.0))


@pytest.fixture
def interrupted(online, inbox):
    """Leave a part that holds everything, and its record: `interrupted(b"...", "film.mkv", sha256=...)`."""

    def leave(content=CONTENT, name="film.mkv", *, promised=False, **wanted) -> Collection:
        sink = Sink.create(inbox, name, "k3v9", size=len(content))
        sink.write(memoryview(content))
        journal = Journal.begin(
            online.transfers,
            "k3v9",
            direction="receive",
            sid="first",
            peer=ROMEO.jid,
            file=FileDescription(name, len(content), hash_used="sha-256" if promised else None),
            path=inbox,
            chunked=True,
            devices=[ROMEO],
            part=sink.part,
            part_inode=sink.part_inode,
            final_name=name,
            **wanted,
        )
        journal.synced(len(content), sink.keep())
        journal.failed(kept=True)
        return Collection(online, lambda _event: None, "k3v9", Mailbox())

    return leave


def state(online):
    return online.transfers.get("k3v9").state


def listing(inbox):
    return sorted(path.name for path in inbox.iterdir())


async def test_a_file_that_was_requested_by_another_digest_gets_no_name(online, interrupted, inbox):
    outcome = await interrupted(sha256=hashlib.sha256(b"something else").digest()).request()
    assert isinstance(outcome, Broken)
    assert isinstance(outcome.error, IntegrityError)
    assert outcome.error.message == "'film.mkv' is not the file of that sha-256; nothing was saved"
    assert (outcome.kept, listing(inbox), state(online)) == (False, [], TransferState.FAILED)


async def test_a_file_that_was_requested_by_its_digest_is_saved(online, interrupted, inbox):
    done = await interrupted(sha256=SHA256).request()
    assert isinstance(done, FileDone)
    assert (done.path, done.verified, done.sha256) == (inbox / "film.mkv", "chunks+checksum", SHA256.hex())
    assert (listing(inbox), state(online)) == (["film.mkv"], TransferState.DONE)


async def test_a_file_that_nobody_has_a_digest_of_is_saved_without(interrupted, inbox):
    done = await interrupted().request()
    assert (done.verified, done.sha256, listing(inbox)) == ("chunks", None, ["film.mkv"])


def test_the_last_byte_does_not_count_while_a_promised_checksum_has_not_been_told(online, interrupted):
    work = interrupted(promised=True)
    sink = work._reopened(online.transfers.get("k3v9"))
    assert sink.position == len(CONTENT) - 1
    sink.write(memoryview(CONTENT[-1:]))
    work._journal.synced(len(CONTENT), sink.keep())
    work._journal.digest_is(SHA256)
    sink = work._reopened(online.transfers.get("k3v9"))
    assert sink.position == len(CONTENT)
    sink.keep()
