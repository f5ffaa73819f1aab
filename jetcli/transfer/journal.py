"""Keeps the record of each transfer as it goes, so that a later process can continue it."""

import functools
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from jetcli.files import boot
from jetcli.files.source import Source, SourceIdentity
from jetcli.protocol.model import Device, FileDescription
from jetcli.state.transfers import RecordedIdentity, TransferRecord, Transfers, TransferState
from jetcli.transfer.events import Direction


@dataclass(frozen=True, slots=True)
class Journal:
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
        device: Device | None = None,
        source: Source | None = None,
        part: str | None = None,
        part_inode: int | None = None,
    ) -> "Journal":
        """Write the first record; `peer` is a bare JID, `path` the source file or the directory that receives."""
        now = time.time()
        record = TransferRecord(
            id=transfer_id,
            direction=direction,
            first_sid=sid,
            peer=peer,
            device_key=device.identity_key if device else None,
            name=file.name or "",
            size=file.size,
            date=file.date,
            media_type=file.media_type,
            path=str(path.absolute()),
            chunked=chunked,
            created=now,
            updated=now,
            source=_recorded(source.identity) if source else None,
            part=part,
            part_inode=part_inode,
            boot_id=_this_boot(),
        )
        transfers.begin(record)
        return cls(transfers, transfer_id)

    def synced(self, verified: int, synced: int) -> None:
        """Record how far the part is verified, and how far it is on the disk; any thread may call it."""
        now = time.time()
        self.transfers.progress(self.id, verified=max(verified, synced), synced=synced, boot_id=_this_boot(), now=now)

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


@functools.cache
def _this_boot() -> str:
    return boot.boot_id() or ""


def _recorded(identity: SourceIdentity) -> RecordedIdentity:
    return RecordedIdentity(identity.device, identity.inode, identity.size, identity.mtime_ns, identity.ctime_ns)


def new_transfer_id(transfers: Transfers) -> str:
    """Return a short id that no transfer of this account has."""
    return transfers.new_id(secrets.token_bytes(16))
