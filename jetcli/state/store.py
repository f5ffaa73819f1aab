"""The database of one account: `state.db`, an SQLite file that only its owner can read.

It owns opening (a damaged, foreign or newer file is refused by name and left as it is), transactions that several
processes and threads may begin at once, and the key-values of the OMEMO library. What the other tables mean is known
to the modules beside this one.
"""

import contextlib
import fcntl
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from jetcli.errors import JetError, LocalFileError, SetupError
from jetcli.state.private import create_private, private_directory, refuse_shared, sync_directory, unusable
from jetcli.state.schema import APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION

#: How long one process waits for another's write. Writes take milliseconds; only a stopped process takes longer.
_BUSY_S = 10.0

#: SQLite's primary result codes for a file whose content makes no sense.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH}

#: Stands for the code that an OperationalError lacks when the Python module could not decode a text.
_PYTHON_MADE = 0xFF


def damaged(path: Path) -> SetupError:
    """Return the error for a database whose content makes no sense."""
    return SetupError(
        f"the state in '{path}' is damaged",
        hint=f"put back a copy, or move '{path.parent}' away and use  jet login",
    )


class Store:
    """The open database of one account; any thread may use it.

    Every change is on the disk when its transaction is left (WAL, synchronous=FULL): after a crash the database holds
    all of a transaction or nothing.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the database in `directory`, making both where they are missing; one of an earlier jet is migrated.

        Raises SetupError where others can read them, where the file is damaged or of a newer jet, or cannot be used;
        nothing is deleted or rewritten then.
        """
        path = private_directory(directory) / "state.db"
        try:
            if not path.exists():
                _create(path)
            if path.stat().st_size == 0:
                raise damaged(path)
        except OSError as error:
            raise unusable(path, error) from error
        for suffix in ("", "-wal", "-shm"):
            refuse_shared(path.with_name(path.name + suffix))
        with _told(path):
            # mode=rw: SQLite would make an empty database where the file has vanished meanwhile.
            store = cls(path, _connect(f"file:{quote(str(path))}?mode=rw"))
        try:
            store._check()
        except BaseException:
            store.close()
            raise
        return store

    def _check(self) -> None:
        version = self.rows("PRAGMA user_version")[0][0]
        if self.rows("PRAGMA application_id")[0][0] != APPLICATION_ID or version < 1:
            raise damaged(self.path)
        if version > SCHEMA_VERSION:
            raise SetupError(f"the state in '{self.path}' was written by a newer jet", hint="install a newer jet")
        if self.rows("PRAGMA quick_check(1)") != [("ok",)]:
            raise damaged(self.path)
        if version < SCHEMA_VERSION:
            self._migrate()

    def _migrate(self) -> None:
        """Bring the tables of an earlier version up to date, all at once or not at all."""
        with self.transaction():
            version = self.rows("PRAGMA user_version")[0][0]  # another process may have been here first
            for statement in (statement for step in MIGRATIONS[version - 1 :] for statement in step):
                self.change(statement)
            self.change(f"PRAGMA user_version = {max(version, SCHEMA_VERSION)}")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run one statement and return its rows as tuples; outside a transaction it is one by itself.

        Raises SetupError or LocalFileError, as `transaction` does.
        """
        with self._lock, _told(self.path):
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement and return how many rows it changed; raises as `rows` does."""
        with self._lock, _told(self.path):
            return self._connection.execute(sql, values).rowcount

    @contextlib.contextmanager
    def hasty(self) -> Iterator[None]:
        """Let statements inside be kept without waiting for the disk: a power cut may undo them, and nothing else.

        What was kept before stays in order. Not for use inside a transaction.
        """
        with self._lock, _told(self.path):
            self._connection.execute("PRAGMA synchronous = NORMAL")
            try:
                yield
            finally:
                self._connection.execute("PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements inside one change: kept when the block is left, undone when it raises.

        A transaction inside another belongs to the outer one. Other threads and processes wait meanwhile, so nothing
        may be awaited inside. Raises SetupError for a damaged or busy database, LocalFileError for a full disk.
        """
        with self._lock, _told(self.path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself has rolled back after some errors
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the database; a second time does nothing."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _connect(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        address, uri=True, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        # A ratchet key that was used and deleted must be gone from the file as well.
        connection.execute("PRAGMA secure_delete = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(path: Path) -> None:
    """Make the database under another name and rename it: nobody ever sees a half-made one."""
    fresh = path.with_name(f"{path.name}.new")
    with open(os.open(path.with_name("create.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as lock:
        os.fchmod(lock.fileno(), 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return
        if path.with_name(f"{path.name}-wal").exists():
            raise damaged(path)  # SQLite would play the lost database's log into the new one
        for suffix in ("", "-wal", "-shm"):
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        os.close(create_private(fresh))
        with _told(path):
            connection = _connect(f"file:{quote(str(fresh))}?mode=rw")
            try:
                connection.executescript(SCHEMA)
            finally:
                connection.close()
        fresh.rename(path)
        sync_directory(path.parent)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell SQLite's errors as jet's."""
    try:
        yield
    except UnicodeDecodeError as error:  # a text of the file, or of SQLite about the file, is none
        raise damaged(path) from error
    except sqlite3.OperationalError as error:
        raise _as_jet_error(path, error) from error
    except sqlite3.DatabaseError as error:
        if _primary_code(error) in _DAMAGED:
            raise damaged(path) from error
        raise


def _as_jet_error(path: Path, error: sqlite3.OperationalError) -> JetError:
    code = _primary_code(error)
    if code in _DAMAGED or code == _PYTHON_MADE or (code == sqlite3.SQLITE_ERROR and "no such" in str(error)):
        return damaged(path)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return SetupError(f"the state in '{path}' is held by another program")
    if code == sqlite3.SQLITE_FULL:
        return LocalFileError(f"cannot write '{path}': no space left")
    return SetupError(f"cannot use the state in '{path}': {error}")


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", _PYTHON_MADE) & 0xFF


class KeyValues:
    """The key-values of the OMEMO library: JSON texts by key, each with a checksum.

    Nothing is cached: another jet on the account may have written since. Whoever reads and then writes holds the
    account's lock (`jetcli.state.locks`) meanwhile.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[str, str | None] | None = None

    def load(self, key: str) -> str | None:
        """Return the JSON text of `key`, or None; raises SetupError where it is damaged."""
        if self._pending is not None and key in self._pending:
            return self._pending[key]
        for value, checksum in self._store.rows("SELECT value, checksum FROM key_values WHERE key = ?", (key,)):
            if checksum != _checksum(key, value):
                raise damaged(self._store.path)
            return str(value)
        return None

    def names(self, prefix: str) -> list[str]:
        """Return every key that starts with `prefix`, without what an open transaction has gathered."""
        rows = self._store.rows("SELECT key FROM key_values WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return [str(name) for (name,) in rows]

    def store(self, key: str, json_text: str) -> None:
        """Keep `json_text` under `key`, at once or when the open transaction commits."""
        self._write({key: json_text})

    def delete(self, key: str) -> None:
        """Forget `key`, which need not exist."""
        self._write({key: None})

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Self]:
        """Gather what is written inside and keep all of it when the block is left; an exception drops it.

        Awaiting inside is fine: the database is locked only while it commits. Reads inside see what was gathered.
        """
        if self._pending is not None:
            raise RuntimeError("a key-value transaction is open already")
        self._pending = {}
        try:
            yield self
            self.commit()
        finally:
            self._pending = None

    def commit(self) -> None:
        """Keep what the open transaction has gathered so far, whatever comes after.

        Call it before a sealed message or a bundle leaves the machine: a ratchet must never step back behind what
        others have seen.
        """
        if self._pending:
            gathered, self._pending = self._pending, {}
            self._keep(gathered)

    def _write(self, changes: dict[str, str | None]) -> None:
        if self._pending is None:
            self._keep(changes)
        else:
            self._pending.update(changes)

    def _keep(self, changes: dict[str, str | None]) -> None:
        with self._store.transaction():
            for key, value in changes.items():
                if value is None:
                    self._store.change("DELETE FROM key_values WHERE key = ?", (key,))
                else:
                    self._store.change(
                        "INSERT OR REPLACE INTO key_values VALUES (?, ?, ?)", (key, value, _checksum(key, value))
                    )


def _checksum(key: str, value: str) -> int:
    return zlib.crc32(value.encode(errors="surrogatepass"), zlib.crc32(key.encode(errors="surrogatepass")))
