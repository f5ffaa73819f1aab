import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import SetupError, UsageError
from jetcli.state.store import Store
from jetcli.state.transfers import RecordedIdentity, TransferRecord, Transfers, TransferState

Make = Callable[..., TransferRecord]


def test_a_record_comes_back_whole_from_another_process_view(directory: Path, store: Store, record: Make) -> None:
    Transfers(store).begin(record())
    with Store.open(directory) as other:
        assert Transfers(other).get("k3v9") == record()


def test_a_record_of_a_stream_of_unknown_size_comes_back_whole(store: Store, record: Make) -> None:
    absent = dict.fromkeys(("size", "date", "media_type", "source", "part", "part_inode", "final_name", "on_exist"))
    absent |= dict.fromkeys(("sha256", "most"))
    sparse = record(direction="send", chunked=False, **absent)
    Transfers(store).begin(sparse)
    assert Transfers(store).get("k3v9") == sparse


def test_a_path_need_not_be_text(store: Store, record: Make) -> None:
    path, name = os.fsdecode(b"/tmp/\xff/50%"), os.fsdecode(b"%41\xff")
    odd = record(path=path, final_name=name)
    Transfers(store).begin(odd)
    assert Transfers(store).get(odd.id) == odd
    assert [one.path for one in Transfers(store).history()] == [path]


def test_no_field_of_a_record_could_hold_a_secret() -> None:
    names = set(TransferRecord.__struct_fields__)
    assert not [name for name in names if name in {"iv", "key", "secret"} or "transport" in name]


def test_an_id_is_not_given_twice(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    with pytest.raises(ValueError, match="exists already"):
        transfers.begin(record(name="other"))
    assert transfers.get("k3v9").name == "film.mkv"


def test_a_saved_record_replaces_the_one_before(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record(part=None))
    transfers.save(record(part=".jet-k3v9.part"))
    assert transfers.history() == [record(part=".jet-k3v9.part")]


def test_progress_is_recorded_with_its_boot(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    transfers.progress("k3v9", verified=900, synced=800, boot_id="boot-2", now=2000.0)
    assert transfers.get("k3v9") == record(verified=900, synced=800, boot_id="boot-2", updated=2000.0)


@pytest.mark.parametrize(("verified", "synced"), [(10, 11), (10, -1)])
def test_progress_never_claims_more_synced_than_verified(
    store: Store, record: Make, verified: int, synced: int
) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    with pytest.raises(ValueError, match="synced"):
        transfers.progress("k3v9", verified=verified, synced=synced, boot_id="b", now=2000.0)
    assert transfers.get("k3v9") == record()


@pytest.mark.parametrize(("boot", "recorded", "bytes_held"), [("a", "a", 300), ("b", "a", 200), ("", "", 200)])
def test_what_was_not_synced_counts_only_within_the_same_boot(
    record: Make, boot: str, recorded: str, bytes_held: int
) -> None:
    assert record(boot_id=recorded).held(boot) == bytes_held


def test_unfinished_transfers_are_listed_latest_first(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    for n, state in enumerate(TransferState):
        transfers.begin(record(id=state.value, updated=float(n)))
        transfers.finish(state.value, state, float(n))
    assert [each.id for each in transfers.unfinished()] == ["interrupted", "active", "offered"]
    assert [each.id for each in transfers.history()] == ["failed", "done", "interrupted", "active", "offered"]


def test_a_transfer_is_found_by_its_first_session_and_its_peer_only(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    assert transfers.of_session("sid-1", "juliet@capulet.example") == [record()]
    assert transfers.of_session("sid-1", "mallory@capulet.example") == []
    assert transfers.of_session("sid-2", "juliet@capulet.example") == []


def test_an_unknown_transfer_is_a_usage_error(store: Store) -> None:
    transfers = Transfers(store)
    for act in (
        lambda: transfers.get("nosuch"),
        lambda: transfers.forget("nosuch"),
        lambda: transfers.finish("nosuch", TransferState.DONE, 1.0),
        lambda: transfers.progress("nosuch", verified=0, synced=0, boot_id="", now=1.0),
    ):
        with pytest.raises(UsageError, match="no transfer 'nosuch'"):
            act()


def test_a_forgotten_transfer_is_gone(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    transfers.forget("k3v9")
    assert transfers.history() == []


@pytest.mark.parametrize(
    "damage", ["state = 'lost'", "direction = 'up'", "source = '[1, 2]'", "source = '{'", "part_inode = 'x'"]
)
def test_a_record_that_makes_no_sense_is_damage(store: Store, record: Make, damage: str) -> None:
    Transfers(store).begin(record())
    store.change(f"UPDATE transfers SET {damage}")
    with pytest.raises(SetupError, match="is damaged"):
        Transfers(store).get("k3v9")


@given(random=st.binary(min_size=16, max_size=16))
def test_an_id_is_four_letters_and_digits_and_starts_with_a_letter(random: bytes) -> None:
    new = Transfers(_Empty()).new_id(random)  # type: ignore[arg-type]  # all that new_id asks of a store
    assert len(new) == 4
    assert new[0].isalpha()
    assert set(new) <= set("abcdefghjkmnpqrstuvwxyz23456789")


def test_an_id_grows_where_the_short_one_is_taken(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    first = transfers.new_id(bytes(16))
    transfers.begin(record(id=first))
    assert transfers.new_id(bytes(16)) == first + "a"


class _Empty:
    """A store that holds nothing."""

    def rows(self, *_: object) -> list[object]:
        return []


def test_a_hasty_note_counts_within_this_boot_only(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    transfers.written("k3v9", verified=900)
    noted = transfers.get("k3v9")
    assert (noted.verified, noted.synced, noted.boot_id) == (900, 200, "boot-1")
    assert (noted.held("boot-1"), noted.held("boot-2")) == (900, 200)
    assert store.rows("PRAGMA synchronous") == [(2,)], "what follows waits for the disk again"


def test_a_part_is_recorded_as_it_was_found(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    transfers.part_is("k3v9", inode=2**64 - 7, verified=150, synced=100, boot_id="boot-2")
    found = transfers.get("k3v9")
    assert (found.part_inode, found.verified, found.synced, found.boot_id) == (2**64 - 7, 150, 100, "boot-2")


def test_a_source_that_was_proven_is_the_source_from_then_on(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record())
    transfers.source_is("k3v9", RecordedIdentity(1, 2, 3, 4, 5))
    assert transfers.get("k3v9").source == RecordedIdentity(1, 2, 3, 4, 5)


def test_a_digest_that_was_told_is_the_one_of_the_file_from_then_on(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.begin(record(sha256=None))
    transfers.digest_is("k3v9", b"d" * 32)
    assert transfers.get("k3v9") == record(sha256=b"d" * 32)


def test_only_the_devices_of_a_transfer_take_part_in_it(record: Make) -> None:
    keys = bytes([1]) * 32, bytes([2]) * 32
    both = record(device_keys=b"".join(keys))
    assert all(both.knows(key) for key in keys)
    assert not both.knows(bytes([3]) * 32)
    assert not both.knows((b"".join(keys))[16:48])
    assert not record(device_keys=b"").knows(b"")


def test_notes_for_the_history_are_kept_together(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    transfers.note([record(id=f"k3v9-{place}", state=TransferState.DONE) for place in (2, 3)])
    assert {kept.id for kept in transfers.history()} == {"k3v9-2", "k3v9-3"}
    assert transfers.unfinished() == []


def test_an_id_is_taken_where_a_file_of_a_bundle_has_it(store: Store, record: Make) -> None:
    transfers = Transfers(store)
    short = transfers.new_id(bytes(16))
    transfers.note([record(id=f"{short}-2")])
    assert transfers.new_id(bytes(16)) == short + short[-1]
