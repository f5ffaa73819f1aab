"""The same `jet send` once more: it continues what is unfinished of the very same files to the same account."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from jetcli.errors import NobodyResumesError, NotResumableError, SetupError
from jetcli.files.source import STDIN
from jetcli.protocol.policy import shown
from jetcli.state.transfers import TransferRecord
from jetcli.transfer.account import Online
from jetcli.transfer.events import FileDone, FileFailed, Listener, Warned
from jetcli.transfer.options import Placing
from jetcli.transfer.outcome import failed
from jetcli.transfer.ownership import Mailbox
from jetcli.transfer.peer import Peer
from jetcli.transfer.resume import continue_transfer


class Repeated:
    """Those of `paths` that were on their way to `bare_jid` as `name`; a context manager that owns their transfers.

    They are owned before anyone is answered: a receiver that waits in `jet resume` asks at the sight of us.
    """

    def __init__(self, online: Online, bare_jid: str, paths: Sequence[Path], name: str | None, emit: Listener) -> None:
        self._online = online
        self._bare_jid = bare_jid
        self._paths = paths
        self._name = name
        self._emit = emit
        self._found: dict[Path, tuple[TransferRecord, Mailbox, ExitStack]] = {}

    def __enter__(self) -> Self:
        unfinished = [record for record in self._online.transfers.unfinished() if self._may_go_on(record)]
        for path in self._paths if unfinished else ():
            record = None if path in self._found else self._record(path, unfinished)
            if record is not None:
                self._own(path, record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, _, owned in self._found.values():
            owned.close()

    @property
    def first_sid(self) -> str | None:
        """By what the peer knows the first of these transfers; None where there is none."""
        return next((record.first_sid for record, _, _ in self._found.values()), None)

    @property
    def paths(self) -> set[str]:
        """The absolute paths of the files that are continued."""
        return {record.path for record, _, _ in self._found.values()}

    async def go_on(self, peer: Peer, path: Path) -> FileDone | FileFailed | None:
        """Continue with the file of `path`, whichever device of the account of `peer` knows the transfer.

        None means that it starts from the beginning, which is said where something had been sent.
        """
        if path not in self._found:
            return None
        record, mailbox, owned = self._found.pop(path)
        with owned:
            if not peer.abilities.resumes:
                await mailbox.close()
                return None
            outcome = await continue_transfer(self._online, record, mailbox, Placing(), self._emit)
        if isinstance(outcome, FileDone):
            return outcome
        final = isinstance(outcome.error, NotResumableError) and not isinstance(outcome.error, NobodyResumesError)
        if final:
            told = f"{outcome.error.message}; '{shown(record.name)}' starts again from the beginning"
            self._emit(Warned(told, record.id))
            return None
        event = failed(outcome, record.id, "send", record.name)
        self._emit(event)
        return event

    def _own(self, path: Path, record: TransferRecord) -> None:
        owned = ExitStack()
        try:
            mailbox = owned.enter_context(self._online.ownership.own(record.id))
        except SetupError:
            return  # another process is sending it; the user wants it sent once more
        self._found[path] = record, mailbox, owned

    def _may_go_on(self, record: TransferRecord) -> bool:
        return record.chunked and (record.direction, record.peer) == ("send", self._bare_jid)

    def _record(self, path: Path, unfinished: Sequence[TransferRecord]) -> TransferRecord | None:
        """Return the latest unfinished transfer of this path, name, size and time."""
        wanted = str(path.absolute()), path.name if self._name is None else self._name
        for record in unfinished:
            if path != STDIN and (record.path, record.name) == wanted and _same_state(record, path):
                return record
        return None


def _same_state(record: TransferRecord, path: Path) -> bool:
    """Say whether the file has the size and the time that it had."""
    known = record.source
    try:
        now = os.stat(path)
    except OSError:
        return False  # whoever opens it says why
    return known is not None and (known.size, known.mtime_ns) == (now.st_size, now.st_mtime_ns)
