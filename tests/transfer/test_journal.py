"""The record of a transfer, as a later process finds it."""

import os
from types import SimpleNamespace

import pytest

from jetcli.errors import LocalFileError
from jetcli.files.source import Source
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.model import FileDescription
from jetcli.state.store import Store
from jetcli.state.transfers import Transfers, TransferState
from jetcli.transfer.journal import Journal, Noted, history_of, new_transfer_id, note

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
        values = {
            "direction": direction,
            "sid": "J-1",
            "peer": BOB.jid,
            "file": FileDescription("film.mkv", 100, "video/x-matroska", "2026-01-01T00:00:00Z"),
            "path": tmp_path,
            "chunked": True,
            "devices": [BOB],
        }
        return Journal.begin(transfers, new_transfer_id(transfers), **values | more)

    return begin


def test_a_new_record_holds_all_that_it_takes_to_continue(transfers, begun, tmp_path):
    journal = begun(part=".jet-x.part", part_inode=9)
    record = transfers.get(journal.id)
    assert (record.first_sid, record.peer, record.name, record.size) == ("J-1", BOB.jid, "film.mkv", 100)
    assert (record.path, record.part, record.part_inode, record.chunked) == (str(tmp_path), ".jet-x.part", 9, True)
    assert record.knows(BOB.identity_key)
    assert (record.verified, record.synced) == (0, 0)


def test_a_new_record_says_what_the_whole_file_has_to_be(transfers, begun):
    wanted = transfers.get(begun(sha256=b"d" * 32, most=100, extract=True).id)
    assert (wanted.sha256, wanted.checksum, wanted.most, wanted.extract) == (b"d" * 32, False, 100, True)
    promised = transfers.get(begun(file=FileDescription("film.mkv", 100, hash_used="sha-256")).id)
    assert (promised.sha256, promised.checksum) == (None, True)


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


def test_what_cannot_be_continued_is_recorded_once_it_has_ended(transfers, tmp_path):
    record = history_of("k3v9", "send", BOB.jid, name="dir.tar", size=None, path=tmp_path)
    journal = Noted(transfers, record.id, record, pytest.fail)
    journal.active()
    assert transfers.history() == []
    journal.done()
    [kept] = transfers.history()
    assert (kept.name, kept.state, kept.path) == ("dir.tar", TransferState.DONE, str(tmp_path))


def test_nobody_may_ask_for_what_is_only_history(transfers, tmp_path):
    note(transfers, [history_of("k3v9", "send", BOB.jid, name="a", size=1, path=tmp_path)], pytest.fail)
    [kept] = transfers.history()
    assert (kept.first_sid, kept.chunked, kept.knows(BOB.identity_key)) == ("", False, False)


def test_a_path_that_is_no_unicode_has_its_history_too(transfers, tmp_path):
    path = tmp_path / os.fsdecode(b"in-\xff")
    note(transfers, [history_of("k3v9", "receive", BOB.jid, name="a", size=1, path=path)], pytest.fail)
    assert transfers.get("k3v9").path == str(path)


def test_a_history_that_cannot_be_kept_is_a_warning(tmp_path):
    def full(_records):
        raise LocalFileError("cannot write 'state.db': no space left")

    told: list = []
    note(
        SimpleNamespace(note=full), [history_of("k3v9", "send", BOB.jid, name="a", size=1, path=tmp_path)], told.append
    )
    assert [event.message for event in told] == [
        "not in the history of transfers: cannot write 'state.db': no space left"
    ]
