"""A file of which every byte has come in earlier sessions: what it has to be before it gets its name."""

import asyncio
import hashlib
import io
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from jetcli.errors import IntegrityError, RemoteProtocolError
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


def packed() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("photos/balcony.jpg")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"moon"))
    return archive.getvalue()


@pytest.fixture
def online(tmp_path):
    with Store.open(tmp_path / "state") as store, ThreadPoolExecutor(2) as pool:
        pools = {"pool": pool, "hashing": pool, "finishing": pool}
        yield SimpleNamespace(transfers=Transfers(store), network=SimpleNamespace(idle_s=60.0), **pools)


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


async def test_an_archive_is_unpacked_where_the_user_wanted_that(online, interrupted, inbox):
    done = await interrupted(packed(), "photos.tar", extract=True).request()
    assert done.path == inbox / "photos"
    assert next(done.path.rglob("balcony.jpg")).read_bytes() == b"moon"
    assert (listing(inbox), state(online)) == (["photos"], TransferState.DONE)


@pytest.mark.parametrize(("name", "extract"), [("photos.tar", False), ("film.mkv", True)])
async def test_anything_else_is_saved_as_it_came(interrupted, inbox, name, extract):
    done = await interrupted(packed(), name, extract=extract).request()
    assert (done.path, listing(inbox)) == (inbox / name, [name])


async def test_an_archive_that_had_its_name_when_jet_was_killed_is_unpacked(online, interrupted, inbox):
    work = interrupted(packed(), "photos.tar", extract=True)
    (inbox / ".jet-k3v9.part").rename(inbox / "photos.tar")
    done = await work.request()
    assert (done.path, listing(inbox), state(online)) == (inbox / "photos", ["photos"], TransferState.DONE)


@pytest.mark.parametrize("named", [False, True])
async def test_what_cannot_be_unpacked_is_not_tried_again(online, interrupted, inbox, named):
    work = interrupted(b"no archive", "photos.tar", extract=True)
    if named:
        (inbox / ".jet-k3v9.part").rename(inbox / "photos.tar")
    outcome = await work.request()
    assert isinstance(outcome.error, RemoteProtocolError)
    assert (outcome.kept, listing(inbox), state(online)) == (False, ["photos.tar"], TransferState.FAILED)


async def test_a_file_that_is_being_published_is_recorded_however_often_we_are_stopped(
    online, interrupted, inbox, monkeypatch
):
    publishing, let = threading.Event(), threading.Event()
    publish = Sink.publish

    def slowly(sink, mtime=None):
        publishing.set()
        let.wait(10)
        return publish(sink, mtime)

    monkeypatch.setattr(Sink, "publish", slowly)
    task = asyncio.create_task(interrupted().request())
    await asyncio.to_thread(publishing.wait, 10)
    for _ in range(2):
        task.cancel()
        await asyncio.wait({task}, timeout=0)
    let.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (listing(inbox), state(online)) == (["film.mkv"], TransferState.DONE)
