"""The record of a transfer, as a later process finds it."""

import pytest

from jetcli.files.source import Source
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import FileDescription
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers, TransferState
from jetcli.transfer.journal import Journal, new_transfer_id

BOB = Device("bob@south.test", 7, b"k" * 32, Trust.BLIND)


@pytest.fixture
def transfers(tmp_path):
    store = Store.open(tmp_path / "state")
    yield Transfers(store)
    store.close()


@pytest.fixture
def begun(transfers, tmp_path):
    """Begin a record with what is sent or received."""

    def begin(direction="receive", **more) -> Journal:
        return Journal.begin(
            transfers,
            new_transfer_id(transfers),
            direction=direction,
            sid="J-1",
            peer=BOB.jid,
            file=FileDescription("film.mkv", 100, "video/x-matroska", "2026-01-01T00:00:00Z"),
            path=tmp_path,
            chunked=True,
            devices=[BOB],
            **more,
        )

    return begin


def test_a_new_record_holds_all_that_it_takes_to_continue(transfers, begun, tmp_path):
    journal = begun(part=".jet-x.part", part_inode=9)
    record = transfers.get(journal.id)
    assert (record.first_sid, record.peer, record.name, record.size) == ("J-1", BOB.jid, "film.mkv", 100)
    assert (record.path, record.part, record.part_inode, record.chunked) == (str(tmp_path), ".jet-x.part", 9, True)
    assert record.knows(BOB.identity_key)
    assert (record.verified, record.synced) == (0, 0)


def test_a_record_of_a_source_tells_that_very_file_from_every_other(transfers, begun, tmp_path):
    file = tmp_path / "film.mkv"
    file.write_bytes(b"x")
    with Source.open(file) as source:
        kept = transfers.get(begun("send", source=source).id).source
        assert (kept.inode, kept.size, kept.mtime_ns) == (
            source.identity.inode,
            source.identity.size,
            source.identity.mtime_ns,
        )


def test_never_less_is_verified_than_is_on_the_disk(transfers, begun):
    journal = begun()
    journal.synced(40, 50)
    record = transfers.get(journal.id)
    assert (record.verified, record.synced) == (50, 50)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (Journal.done, TransferState.DONE),
        (lambda journal: journal.failed(kept=True), TransferState.INTERRUPTED),
        (lambda journal: journal.failed(kept=False), TransferState.FAILED),
    ],
)
def test_an_end_is_recorded_as_what_it_was(transfers, begun, end, state):
    journal = begun()
    journal.active()
    end(journal)
    assert transfers.get(journal.id).state is state


def test_ids_are_short_and_never_those_of_another_transfer(transfers, begun):
    ids = {begun().id for _ in range(50)}
    assert len(ids) == 50
    assert max(map(len, ids)) <= 6
