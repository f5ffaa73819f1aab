"""Records of transfers: all that a later process needs to continue one, and the history.

No key or secret is in a record: a transfer continues with a fresh transport secret. Whether a part file or a source
still matches its record is judged by `jetcli.transfer`.
"""

import json
import os
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from msgspec import Struct

from jetcli.errors import UsageError
from jetcli.state.store import Store, damaged

Direction = Literal["send", "receive"]

#: Letters and digits that nobody mistakes for each other (no i, l, o, 0, 1).
_ID_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_ID_LENGTH = 4

#: Bytes of an identity key.
KEY_SIZE = 32


class TransferState(StrEnum):
    """How far a transfer has come."""

    OFFERED = "offered"
    ACTIVE = "active"
    INTERRUPTED = "interrupted"
    DONE = "done"
    FAILED = "failed"


class RecordedIdentity(NamedTuple):
    """The source as it was when it was offered: who vouches for the same bytes compares all five."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class TransferRecord(Struct, frozen=True):
    """One transfer. `first_sid` is the sid of its first session, by which the peer knows it; `id` is ours alone.

    `peer` is a bare JID and `device_keys` the identity keys of its devices that the transfer belongs to, one after the
    other, 32 bytes each. `name`, `size`, `date` and `media_type` are those of the first offer. `path` is absolute: the
    source file, or the directory that receives. `final_name` is the local name there, and `on_exist` what becomes of it
    where it is taken. `part` is a file name inside `path`. `verified` counts the bytes from the start that are
    authenticated and written (a receiver) or confirmed (a sender), `synced` those of them that had reached the disk,
    both during boot `boot_id`. `created` and `updated` are wall-clock seconds. `sha256` is the digest that a received
    file must have, where it is known: by our own request, or because the sender has said it. `checksum` says that the
    sender promised to. `most` is how many bytes are taken, and with `extract` an archive is to be unpacked. Of what can
    never be continued there is only the history: it has no session and no device.
    """

    id: str
    direction: Direction
    first_sid: str
    peer: str
    device_keys: bytes
    name: str
    size: int | None
    date: str | None
    media_type: str | None
    path: str
    chunked: bool
    created: float
    updated: float
    final_name: str | None = None
    on_exist: str | None = None
    source: RecordedIdentity | None = None
    part: str | None = None
    part_inode: int | None = None
    verified: int = 0
    synced: int = 0
    boot_id: str = ""
    state: TransferState = TransferState.OFFERED
    sha256: bytes | None = None
    checksum: bool = False
    most: int | None = None
    extract: bool = False

    def knows(self, device_key: bytes) -> bool:
        """Say whether the device with this identity key takes part in the transfer."""
        keys = self.device_keys
        return device_key in {keys[at : at + KEY_SIZE] for at in range(0, len(keys), KEY_SIZE)}

    def held(self, boot_id: str) -> int:
        """Return how many bytes from the start the part must hold now that the machine runs under `boot_id`.

        What was written survives a killed process; what was not synced does not survive a power cut. An unknown boot
        ("") is never the same one.
        """
        return self.verified if boot_id and boot_id == self.boot_id else self.synced


_COLUMNS = TransferRecord.__struct_fields__
_ALL_COLUMNS = ", ".join(_COLUMNS)
_PLACES = ", ".join("?" * len(_COLUMNS))
# What the user's system calls a file: bytes, which need not be text.
_OF_FILES = ("path", "final_name")


class Transfers:
    """The transfers of one account. Every method is one transaction and may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def new_id(self, random: bytes) -> str:
        """Return a short id like `k3v9` that no transfer has, made from `random` (at least 16 bytes).

        It starts with a letter and grows where the short ones are taken, also by a file of a bundle (`k3v9-2`).
        """
        letters = "".join(_ID_ALPHABET[byte % len(_ID_ALPHABET)] for byte in random[1:])
        candidate = _ID_ALPHABET[random[0] % _ID_ALPHABET.index("2")] + letters
        for length in range(_ID_LENGTH, len(candidate) + 1):
            short = candidate[:length]
            # What begins with it and a hyphen lies before it with a full stop, the character behind the hyphen.
            if not self._store.rows("SELECT 1 FROM transfers WHERE id >= ? AND id < ? LIMIT 1", (short, f"{short}.")):
                return short
        raise ValueError("too few random bytes for a new transfer id")

    def begin(self, record: TransferRecord) -> None:
        """Keep a new record; ValueError if its id is taken."""
        sql = f"INSERT OR IGNORE INTO transfers ({_ALL_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608 our own names
        if not self._store.change(sql, _row(record)):
            raise ValueError(f"transfer {record.id} exists already")

    def save(self, record: TransferRecord) -> None:
        """Replace the record of the same id, or keep it as new."""
        sql = f"INSERT OR REPLACE INTO transfers ({_ALL_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608 our own names
        self._store.change(sql, _row(record))

    def note(self, records: Iterable[TransferRecord]) -> None:
        """Keep records for the history, as `save` does: all of them or none."""
        with self._store.transaction():
            for record in records:
                self.save(record)

    def progress(self, transfer_id: str, *, verified: int, synced: int, boot_id: str, now: float) -> None:
        """Record that `verified` bytes are authenticated and written, and `synced` of them on the disk.

        Call it after the fdatasync that it speaks of. Raises UsageError where there is no such transfer.
        """
        if not 0 <= synced <= verified:
            raise ValueError(f"{synced} bytes synced of {verified} verified")
        self._update(transfer_id, {"verified": verified, "synced": synced, "boot_id": boot_id, "updated": now})

    def written(self, transfer_id: str, *, verified: int) -> None:
        """Record that `verified` bytes are authenticated and written, as far as this boot goes.

        It costs no wait for the disk: a power cut takes the note away together with what it speaks of.
        """
        with self._store.hasty():
            self._update(transfer_id, {"verified": verified})

    def source_is(self, transfer_id: str, source: RecordedIdentity) -> None:
        """Record the source as it is now, after its bytes have been proven to be the same."""
        self._update(transfer_id, {"source": json.dumps(source)})

    def part_is(self, transfer_id: str, *, inode: int, verified: int, synced: int, boot_id: str) -> None:
        """Record the part as it was found: which file it is, and how much of it counts."""
        found = {"part_inode": str(inode), "verified": verified, "synced": synced, "boot_id": boot_id}
        self._update(transfer_id, found)

    def digest_is(self, transfer_id: str, sha256: bytes) -> None:
        """Record which digest the whole file has, now that the sender has said it."""
        self._update(transfer_id, {"sha256": sha256})

    def finish(self, transfer_id: str, state: TransferState, now: float) -> None:
        """Record that the transfer has come to `state`; raises UsageError where there is no such transfer."""
        self._update(transfer_id, {"state": state.value, "updated": now})

    def _update(self, transfer_id: str, changes: dict[str, object]) -> None:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        sql = f"UPDATE transfers SET {assignments} WHERE id = ?"  # noqa: S608 our own names
        if not self._store.change(sql, (*changes.values(), transfer_id)):
            raise _no_transfer(transfer_id)

    def get(self, transfer_id: str) -> TransferRecord:
        """Return the transfer of that id; raises UsageError where there is none, SetupError where it is damaged."""
        for record in self._select("id = ?", (transfer_id,)):
            return record
        raise _no_transfer(transfer_id)

    def of_session(self, first_sid: str, peer: str) -> list[TransferRecord]:
        """Return the transfers with `peer` (bare JID) whose first session was `first_sid`."""
        return self._select("first_sid = ? AND peer = ?", (first_sid, peer))

    def unfinished(self) -> list[TransferRecord]:
        """Return what is offered, active or interrupted, latest first; an owner's lock tells which is alive."""
        return self._select("state NOT IN (?, ?)", (TransferState.DONE.value, TransferState.FAILED.value))

    def history(self) -> list[TransferRecord]:
        """Return all records, latest first."""
        return self._select("TRUE", ())

    def forget(self, transfer_id: str) -> None:
        """Remove the record; its part file is the caller's. Raises UsageError where there is none."""
        if not self._store.change("DELETE FROM transfers WHERE id = ?", (transfer_id,)):
            raise _no_transfer(transfer_id)

    def _select(self, condition: str, values: Sequence[object]) -> list[TransferRecord]:
        sql = f"SELECT {_ALL_COLUMNS} FROM transfers WHERE {condition} ORDER BY updated DESC, id"  # noqa: S608 our own
        try:
            return [_record(row) for row in self._store.rows(sql, values)]
        except (ValueError, TypeError) as error:
            raise damaged(self._store.path) from error


def _row(record: TransferRecord) -> list[object]:
    row = {column: getattr(record, column) for column in _COLUMNS}
    row |= {column: _text(row[column]) for column in _OF_FILES}
    row["source"] = json.dumps(record.source) if record.source else None
    row["part_inode"] = None if record.part_inode is None else str(record.part_inode)
    row["state"] = record.state.value
    return list(row.values())


def _record(row: Sequence[Any]) -> TransferRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    if values["direction"] not in ("send", "receive"):
        raise ValueError("neither sent nor received")
    values |= {column: _of_file(values[column]) for column in _OF_FILES}
    values["source"] = RecordedIdentity(*json.loads(values["source"])) if values["source"] else None
    values["part_inode"] = None if values["part_inode"] is None else int(values["part_inode"])
    values["state"] = TransferState(values["state"])
    values |= {column: bool(values[column]) for column in ("chunked", "checksum", "extract")}
    return TransferRecord(**values)


def _text(name: str | None) -> str | None:
    """Return a path or a file name as text; one that is none stands in percents behind a NUL, which no path holds."""
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        return "\0" + quote_from_bytes(os.fsencode(name or ""))
    return name


def _of_file(text: str | None) -> str | None:
    return os.fsdecode(unquote_to_bytes(text[1:])) if text and text[0] == "\0" else text


def _no_transfer(transfer_id: str) -> UsageError:
    return UsageError(f"no transfer {transfer_id!r}", hint="jet resume --list")
