"""Keeps the record of each transfer as it goes, so that a later process can continue it."""

import functools
import secrets
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from jetcli.errors import JetError
from jetcli.files import boot
from jetcli.files.source import Source, SourceIdentity
from jetcli.protocol.device import Device
from jetcli.protocol.model import FileDescription
from jetcli.state.transfers import RecordedIdentity, TransferRecord, Transfers, TransferState
from jetcli.transfer.events import Direction, Listener, Warned


class Journal(Struct, frozen=True):
    """The record of one transfer. `id` is the short name that the user sees."""

    transfers: Transfers
    id: str

    @classmethod
    def begin(
        cls,
        transfers: Transfers,
        transfer_id: str,
        *,
        direction: Direction,
        sid: str,
        peer: str,
        file: FileDescription,
        path: Path,
        chunked: bool,
        devices: Iterable[Device],
        source: Source | None = None,
        part: str | None = None,
        part_inode: int | None = None,
        final_name: str | None = None,
        on_exist: str | None = None,
        sha256: bytes | None = None,
        most: int | None = None,
        extract: bool = False,
    ) -> "Journal":
        """Write the first record; `peer` is a bare JID, `path` the source file or the directory that receives.

        `devices` are the peer's that the secret was sealed for, or the one that sealed it. `sha256` is the digest that
        the file was requested by, `most` how many bytes are taken, `extract` says that an archive is to be unpacked.
        """
        now = time.time()
        record = TransferRecord(
            id=transfer_id,
            direction=direction,
            first_sid=sid,
            peer=peer,
            device_keys=b"".join(device.identity_key for device in devices),
            name=file.name or "",
            size=file.size,
            date=file.date,
            media_type=file.media_type,
            path=str(path.absolute()),
            chunked=chunked,
            created=now,
            updated=now,
            source=recorded(source.identity) if source else None,
            part=part,
            part_inode=part_inode,
            final_name=final_name,
            on_exist=on_exist,
            boot_id=this_boot(),
            sha256=sha256,
            checksum=file.hash_used is not None,
            most=most,
            extract=extract,
        )
        transfers.begin(record)
        return cls(transfers, transfer_id)

    def synced(self, verified: int, synced: int) -> None:
        """Record how far the part is verified, and how far it is on the disk; any thread may call it."""
        now = time.time()
        self.transfers.progress(self.id, verified=max(verified, synced), synced=synced, boot_id=this_boot(), now=now)

    def found(self, inode: int, verified: int, synced: int) -> None:
        """Record the part as it was found by another process than the one that began it."""
        self.transfers.part_is(self.id, inode=inode, verified=verified, synced=synced, boot_id=this_boot())

    def written(self, verified: int) -> None:
        """Record how far the part is verified, without waiting for the disk; any thread may call it."""
        self.transfers.written(self.id, verified=verified)

    def source_is(self, source: Source) -> None:
        """Record the source as it is now, after its beginning was proven to be the same."""
        self.transfers.source_is(self.id, recorded(source.identity))

    def digest_is(self, sha256: bytes) -> None:
        """Record which digest the whole file has, now that the sender has said it."""
        self.transfers.digest_is(self.id, sha256)

    def active(self) -> None:
        """Record that bytes move."""
        self._finish(TransferState.ACTIVE)

    def done(self) -> None:
        """Record that the transfer is complete."""
        self._finish(TransferState.DONE)

    def failed(self, *, kept: bool) -> None:
        """Record that the transfer ended early; `kept` when it can be continued."""
        self._finish(TransferState.INTERRUPTED if kept else TransferState.FAILED)

    def _finish(self, state: TransferState) -> None:
        self.transfers.finish(self.id, state, time.time())


class Unrecorded(Journal, frozen=True):
    """The journal of what leaves no record, or has its files recorded one by one."""

    def synced(self, verified: int, synced: int) -> None:
        """Record nothing."""

    def written(self, verified: int) -> None:
        """Record nothing."""

    def digest_is(self, sha256: bytes) -> None:
        """Record nothing."""

    def _finish(self, state: TransferState) -> None:
        """Record nothing."""


class Noted(Unrecorded, frozen=True):
    """The journal of what cannot be continued: `record` is kept once it has ended, for the history."""

    record: TransferRecord
    emit: Listener

    def _finish(self, state: TransferState) -> None:
        if state is not TransferState.ACTIVE:
            note(self.transfers, [replace(self.record, state=state, updated=time.time())], self.emit)


def history_of(
    transfer_id: str,
    direction: Direction,
    peer: str,
    *,
    name: str,
    size: int | None,
    path: Path,
    final_name: str | None = None,
    saved: bool = True,
) -> TransferRecord:
    """Return what the history keeps of a transfer that has ended; `saved` or not, it cannot be continued.

    `peer` is a bare JID; no session and no device of it may ask for the transfer.
    """
    now = time.time()
    return TransferRecord(
        id=transfer_id,
        direction=direction,
        first_sid="",
        peer=peer,
        device_keys=b"",
        name=name,
        size=size,
        date=None,
        media_type=None,
        path=str(path),
        chunked=False,
        created=now,
        updated=now,
        final_name=final_name,
        verified=(size or 0) if saved else 0,
        synced=(size or 0) if saved else 0,
        boot_id=this_boot(),
        state=TransferState.DONE if saved else TransferState.FAILED,
    )


def note(transfers: Transfers, records: Sequence[TransferRecord], emit: Listener) -> None:
    """Keep records for the history; that this fails is told, and concerns no file."""
    if not records:
        return
    try:
        transfers.note(records)
    except JetError as error:
        emit(Warned(f"not in the history of transfers: {error.message}", hint=error.hint))


@functools.cache
def this_boot() -> str:
    """Return which boot of the machine this is, or "" where that cannot be told."""
    return boot.boot_id() or ""


def recorded(identity: SourceIdentity) -> RecordedIdentity:
    """Return the identity of a source as its record keeps it."""
    return RecordedIdentity(identity.device, identity.inode, identity.size, identity.mtime_ns, identity.ctime_ns)


def new_transfer_id(transfers: Transfers) -> str:
    """Return a short id that no transfer of this account has."""
    return transfers.new_id(secrets.token_bytes(16))
