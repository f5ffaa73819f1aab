"""The database of an account: private, whole or refused, and safe for threads and processes."""

import contextlib
import os
import sqlite3
import stat
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run_at_once
from stores import filled, laid_out

from jetcli.errors import LocalFileError, SetupError
from jetcli.state.schema import SCHEMA_VERSION
from jetcli.state.store import KeyValues, Store
from jetcli.state.transfers import Transfers


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_at_once(keys: KeyValues, values: Mapping[str, str]) -> None:
    with keys.transaction():
        for key, value in values.items():
            keys.store(key, value)


# Opening


def test_what_is_stored_is_there_after_opening_again(directory: Path) -> None:
    filled(directory)
    with Store.open(directory) as store:
        assert [KeyValues(store).load(f"key-{n}") for n in range(40)] == [f'"{n * 1000}"' for n in range(40)]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_directory_and_files_are_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    directory = tmp_path / "a" / "b"
    before = os.umask(umask)
    try:
        with Store.open(directory) as store:
            KeyValues(store).store("key", "1")
            modes = {path.name: mode(path) for path in directory.iterdir()}
    finally:
        os.umask(before)
    assert {"state.db", "state.db-wal", "state.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert mode(directory) == mode(directory.parent) == 0o700


@pytest.mark.parametrize("suffix", ["state.db", "state.db-wal"])
@pytest.mark.parametrize("bits", [0o040, 0o004, 0o020, 0o002])
def test_a_file_that_others_can_use_is_refused_with_the_cure(directory: Path, suffix: str, bits: int) -> None:
    with Store.open(directory) as first:
        KeyValues(first).store("key", "1")
        path = directory / suffix
        path.chmod(0o600 | bits)
        with pytest.raises(SetupError, match=r"can be read by others") as caught:
            Store.open(directory)
    assert str(path) in caught.value.message
    assert caught.value.hint == f"chmod 600 '{path}'"


def test_a_directory_that_others_can_enter_is_refused_with_the_cure(directory: Path) -> None:
    filled(directory)
    directory.chmod(0o750)
    with pytest.raises(SetupError, match="can be read by others") as caught:
        Store.open(directory)
    assert caught.value.hint == f"chmod 700 '{directory}'"


def test_a_directory_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(SetupError, match="not a directory"):
        Store.open(tmp_path / "state")


def test_a_newer_schema_is_refused_and_left_alone(directory: Path) -> None:
    filled(directory)
    with sqlite3.connect(directory / "state.db") as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = contents(directory)
    with pytest.raises(SetupError, match="newer jet") as caught:
        Store.open(directory)
    assert str(directory / "state.db") in caught.value.message
    assert contents(directory) == before


#: What the first version knew of a transfer.
FIRST_TRANSFERS = """
DROP TABLE transfers;
CREATE TABLE transfers (
    id TEXT PRIMARY KEY, direction TEXT NOT NULL, first_sid TEXT NOT NULL, peer TEXT NOT NULL,
    device_keys BLOB NOT NULL, name TEXT NOT NULL, size INTEGER, date TEXT, media_type TEXT, path TEXT NOT NULL,
    final_name TEXT, on_exist TEXT, source TEXT, part TEXT, part_inode TEXT, verified INTEGER NOT NULL,
    synced INTEGER NOT NULL, boot_id TEXT NOT NULL, chunked INTEGER NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX transfers_by_session ON transfers (first_sid);
INSERT INTO transfers VALUES (
    'k3v9', 'receive', 'sid-1', 'juliet@capulet.example', x'', 'film.mkv', 9, NULL, NULL, '/in',
    'film.mkv', 'rename', NULL, '.jet-k3v9.part', '7', 5, 4, 'boot-1', 1, 'interrupted', 1.0, 2.0
);
PRAGMA user_version = 1;
"""


def columns(store: Store) -> list[object]:
    return store.rows("PRAGMA table_info(transfers)")


def test_a_database_of_the_first_version_goes_on_with_all_that_it_holds(directory: Path) -> None:
    filled(directory)
    with Store.open(directory) as store:
        today = columns(store)
    with contextlib.closing(sqlite3.connect(directory / "state.db")) as connection:
        connection.executescript(FIRST_TRANSFERS)
    with Store.open(directory) as store:
        assert columns(store) == today
        assert store.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
        record = Transfers(store).get("k3v9")
        assert (record.verified, record.synced, record.chunked, record.part_inode) == (5, 4, True, 7)
        assert (record.sha256, record.checksum, record.most, record.extract) == (None, False, None, False)
        assert KeyValues(store).load("key-7") == '"7000"'


def test_two_that_bring_a_database_up_to_date_do_it_once(directory: Path) -> None:
    filled(directory)
    with contextlib.closing(sqlite3.connect(directory / "state.db")) as connection:
        connection.executescript(FIRST_TRANSFERS)
    with Store.open(directory) as store:
        store._migrate()  # as by a process that had looked at the version before
        assert Transfers(store).get("k3v9").name == "film.mkv"


@pytest.mark.parametrize("length", [0, 1, 50, 4096, 12_288, -1])
def test_a_truncated_database_is_refused_by_name_and_left_alone(directory: Path, length: int) -> None:
    filled(directory)
    path = directory / "state.db"
    os.truncate(path, length if length >= 0 else path.stat().st_size - 4096)
    before = contents(directory)["state.db"]
    with pytest.raises(SetupError, match="is damaged") as caught:
        Store.open(directory)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 3
    assert contents(directory)["state.db"] == before


@pytest.mark.parametrize("content", [b"junk" * 2000, b"SQLite format 3\0" + bytes(8000)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(directory: Path, content: bytes) -> None:
    filled(directory)
    (directory / "state.db").write_bytes(content)
    with pytest.raises(SetupError, match="is damaged"):
        Store.open(directory)
    assert (directory / "state.db").read_bytes() == content


def test_a_database_of_another_program_is_refused(directory: Path) -> None:
    filled(directory)
    with sqlite3.connect(directory / "state.db") as connection:
        connection.execute("PRAGMA application_id = 7")
    connection.close()
    with pytest.raises(SetupError, match="is damaged"):
        Store.open(directory)


def test_a_log_without_its_database_is_not_played_into_a_new_one(directory: Path) -> None:
    filled(directory)
    with Store.open(directory) as store:
        KeyValues(store).store("key", "1")
        kept = (directory / "state.db-wal").read_bytes()
    (directory / "state.db").unlink()
    (directory / "state.db-wal").write_bytes(kept)
    with pytest.raises(SetupError, match="is damaged"):
        Store.open(directory)
    assert (directory / "state.db-wal").read_bytes() == kept


def test_what_a_crash_left_while_making_the_database_is_made_anew(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    for name in ("state.db.new", "state.db.new-wal"):
        (directory / name).write_bytes(b"half")
    with Store.open(directory) as store:
        assert KeyValues(store).load("key") is None
    assert not (directory / "state.db.new").exists()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of 40 key-values, as it lies on the disk."""
    directory = tmp_path_factory.mktemp("sound") / "s"
    filled(directory)
    return (directory / "state.db").read_bytes()


@given(place=st.one_of(st.integers(0, 32_767), st.integers(0, 4095), st.integers(0, 127)), bits=st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_gives_the_same_values_or_a_refusal(sound: bytes, place: int, bits: int) -> None:
    altered = bytearray(sound)
    altered[place % len(sound)] ^= bits
    with laid_out({"state.db": altered}) as directory:
        try:
            with Store.open(directory) as store:
                values = [KeyValues(store).load(f"key-{n}") for n in range(40)]
        except SetupError as error:
            assert str(directory) in error.message  # noqa: PT017 either outcome is right
        else:
            changed = [value for n, value in enumerate(values) if value != f'"{n * 1000}"']
            assert changed in ([], [None])  # a flip inside a key makes it one that nobody asks for


# Transactions


def test_a_transaction_left_by_an_exception_is_undone(store: Store) -> None:
    keys = KeyValues(store)
    keys.store("key", "old")
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        keys.store("key", "new")
        raise ZeroDivisionError
    assert keys.load("key") == "old"


def test_an_inner_transaction_belongs_to_the_outer_one(store: Store) -> None:
    keys = KeyValues(store)
    with contextlib.suppress(ZeroDivisionError), store.transaction():
        with store.transaction():
            keys.store("key", "new")
        raise ZeroDivisionError
    assert keys.load("key") is None


def test_key_values_of_a_transaction_are_seen_inside_and_kept_at_its_end(directory: Path, store: Store) -> None:
    keys = KeyValues(store)
    keys.store("gone", "1")
    with Store.open(directory) as other:
        with keys.transaction():
            keys.store("key", "2")
            keys.delete("gone")
            assert (keys.load("key"), keys.load("gone")) == ("2", None)
            assert (KeyValues(other).load("key"), KeyValues(other).load("gone")) == (None, "1")
        assert (KeyValues(other).load("key"), KeyValues(other).load("gone")) == ("2", None)


def test_key_values_of_a_transaction_left_by_an_exception_are_dropped(store: Store) -> None:
    keys = KeyValues(store)
    with contextlib.suppress(ZeroDivisionError), keys.transaction():
        keys.store("key", "1")
        raise ZeroDivisionError
    assert keys.load("key") is None
    keys.store("key", "2")
    assert keys.load("key") == "2"


def test_what_was_committed_midway_stays_whatever_comes_after(store: Store) -> None:
    keys = KeyValues(store)
    with contextlib.suppress(ZeroDivisionError), keys.transaction():
        keys.store("sent", "1")
        keys.commit()
        keys.store("unsent", "1")
        raise ZeroDivisionError
    assert (keys.load("sent"), keys.load("unsent")) == ("1", None)


def test_many_key_values_are_one_write_to_the_disk(store: Store) -> None:
    keys = KeyValues(store)
    begun: list[str] = []
    store._connection.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith(("BEGIN", "COMMIT")) else None)
    with keys.transaction():
        for n in range(50):
            keys.store(f"key-{n}", "1")
    assert begun == ["BEGIN IMMEDIATE", "COMMIT"]


def test_a_key_value_transaction_is_not_opened_twice(store: Store) -> None:
    keys = KeyValues(store)
    with keys.transaction(), pytest.raises(RuntimeError), keys.transaction():
        pass


def test_every_commit_reaches_the_disk(store: Store) -> None:
    assert store.rows("PRAGMA journal_mode") == [("wal",)]
    assert store.rows("PRAGMA synchronous") == [(2,)]


def test_threads_share_a_store(store: Store) -> None:
    keys = KeyValues(store)
    keys.store("count", "0")

    def work() -> None:
        for _ in range(25):
            with store.transaction():
                keys.store("count", str(int(keys.load("count") or 0) + 1))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert keys.load("count") == "100"


def test_processes_open_and_write_at_once(directory: Path) -> None:
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from jetcli.state.store import KeyValues, Store
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(20):
            with Store.open(Path(sys.argv[1])) as store, store.transaction():
                keys = KeyValues(store)
                keys.store("count", str(int(keys.load("count") or 0) + 1))
        """
    )
    assert run_at_once(program, directory, times=4) == [0] * 4
    with Store.open(directory) as store:
        assert KeyValues(store).load("count") == "80"


# Failures of the database


def test_a_full_disk_is_told_and_the_old_state_stands(store: Store) -> None:
    keys = KeyValues(store)
    keys.store("key", "old")
    pages = store.rows("PRAGMA page_count")[0][0]
    store.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LocalFileError, match="no space left") as caught:
        write_at_once(keys, {"key": "new", "large": "x" * 100_000})
    assert str(store.path) in caught.value.message
    assert (keys.load("key"), keys.load("large")) == ("old", None)


def test_a_database_that_another_program_holds_is_told(directory: Path, store: Store) -> None:
    store._connection.execute("PRAGMA busy_timeout = 0")
    with Store.open(directory) as other, other.transaction(), pytest.raises(SetupError, match="held by another"):
        KeyValues(store).store("key", "1")


def test_a_table_that_is_missing_is_damage(store: Store) -> None:
    store.rows("DROP TABLE key_values")
    with pytest.raises(SetupError, match="is damaged"):
        KeyValues(store).load("key")


def test_a_value_that_was_altered_is_damage(store: Store) -> None:
    KeyValues(store).store("key", "1")
    store.change("UPDATE key_values SET value = '2'")
    with pytest.raises(SetupError, match="is damaged"):
        KeyValues(store).load("key")


def test_deleted_keys_are_overwritten_in_the_file(directory: Path, store: Store) -> None:
    keys = KeyValues(store)
    keys.store("ratchet", "MESSAGE-KEY-MATERIAL")
    keys.delete("ratchet")
    store.close()
    assert b"MESSAGE-KEY-MATERIAL" not in (directory / "state.db").read_bytes()
