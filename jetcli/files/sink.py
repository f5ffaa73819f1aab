"""The file that is received: a part file beside its target, and a final name only once every byte is verified.

`Output` is what a stream writes to; `Sink` is the one that makes a file, another may feed a pipe. Everything happens
inside one directory, by its descriptor. What is verified is not known here: whoever calls `publish` has made sure.
"""

import contextlib
import errno
import os
import re
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, Self

from jetcli.errors import InterruptedTransferError, JetError, LocalFileError, NotResumableError
from jetcli.files.publish import (
    OnExist,
    give_final_name,
    is_same_file,
    is_taken,
    published_mode,
    set_mode,
    sync_directory,
)
from jetcli.files.reason import TAKEN_THERE, reason, told
from jetcli.files.space import free_bytes
from jetcli.files.syncer import Syncer
from jetcli.protocol.policy import believable_mtime, shown

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Open for reading too: so a FIFO in the part's place is opened at once, and seen to be one.
_PART_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC

#: A file of unknown size is written this far, at most, between two looks at the free space.
LOOK_AT_SPACE = 16 * 2**20

# macOS has no fdatasync.
_sync_data = getattr(os, "fdatasync", os.fsync)


class Output(Protocol):
    """Where the bytes of a stream go, in order. All of it may block; one thread at a time calls it.

    After `publish`, `keep` or `discard` it is closed, and these three do nothing more.
    """

    @property
    def position(self) -> int:
        """Bytes written so far, those of earlier sessions included."""

    @property
    def resumable(self) -> bool:
        """Whether another session may go on from what is kept."""

    @property
    def waiting(self) -> bool:
        """Whether writing waits for somebody."""

    def stop(self) -> None:
        """Make the present and every later writing fail that would have to wait; for any thread."""

    def write(self, view: memoryview) -> None:
        """Take all of `view`; raise LocalFileError if that cannot be done."""

    def sync(self) -> int:
        """Make what is written survive a power cut, as far as the output can; return how many bytes do."""

    def publish(self, mtime: float | None = None) -> Path | None:
        """Let the world have the verified bytes; return where, or None if they have no place."""

    def keep(self) -> int:
        """Close and leave what is written for another session; return how many bytes a power cut leaves."""

    def discard(self) -> None:
        """Close and remove what is written."""


class Sink:
    """A part file `.jet-<transfer id>.part` that becomes `name` in `directory`. See `Output`."""

    resumable = True
    waiting = False

    def __init__(
        self, directory: Path, name: str, transfer_id: str, *, size: int | None, on_exist: OnExist, output: bool
    ) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", transfer_id):
            raise ValueError(f"not a transfer id: {transfer_id!r}")
        if name in {"", ".", ".."} or "/" in name or "\0" in name:
            raise LocalFileError(f"'{shown(name)}' is not the name of a file")
        self.name = name
        self.part = f".jet-{transfer_id}.part"
        self._shown_directory = shown(str(directory))
        self._path = Path(os.path.abspath(directory))
        self._size = size
        # -o names exactly one file: it is never numbered, and replaced only if the user says so.
        self._on_exist: OnExist = "fail" if output and on_exist != "overwrite" else on_exist
        self._position = 0
        self._room = 0
        self._synced = 0
        self._entry_synced = False
        self._failure: JetError | None = None
        self._syncer: Syncer | None = None
        self._descriptor = -1
        self._inode = 0
        try:
            self._directory = os.open(directory, _DIRECTORY_FLAGS)
        except OSError as error:
            why = "no such directory" if error.errno == errno.ENOENT else reason(error)
            raise LocalFileError(f"cannot write to '{self._shown_directory}': {why}") from error

    @classmethod
    def create(
        cls,
        directory: Path,
        name: str,
        transfer_id: str,
        *,
        size: int | None,
        on_exist: OnExist = "rename",
        output: bool = False,
    ) -> Self:
        """Make an empty part for a file of `size` bytes (None: unknown) that is to be `name`, a single component.

        `output` means that the user chose the name (`-o`): it is not numbered. Raises LocalFileError if the directory
        cannot be written to, or if the name is taken and `on_exist` allows no other.
        """
        sink = cls(directory, name, transfer_id, size=size, on_exist=on_exist, output=output)
        with sink._closed_on_error():
            if sink._on_exist in {"fail", "skip"} and is_taken(name, sink._directory):
                hint = "--on-exist rename keeps both, -o NAME chooses another name"
                raise LocalFileError(f"'{shown(name)}' exists already", told=TAKEN_THERE, hint=hint)
            sink._open_part(os.O_CREAT | os.O_EXCL)
            # The umask may have taken away even what jet needs to come back to it.
            set_mode(sink._descriptor, 0o600)
        return sink

    @classmethod
    def reopen(
        cls,
        directory: Path,
        name: str,
        transfer_id: str,
        *,
        inode: int | None,
        length: int,
        size: int | None,
        on_exist: OnExist = "rename",
        output: bool = False,
    ) -> Self:
        """Open the part of an earlier session, cut to the `length` that its record vouches for.

        A part that is shorter counts as long as it is: look at `position`. `inode` is the one of the record; None
        adopts whatever regular file is there. A part that a crash left beside its published file opens too, so that
        `publish` can finish.

        Raises NotResumableError if the part is gone, LocalFileError if something else is in its place.
        """
        sink = cls(directory, name, transfer_id, size=size, on_exist=on_exist, output=output)
        with sink._closed_on_error():
            sink._open_part(0)
            status = os.fstat(sink._descriptor)
            if not stat.S_ISREG(status.st_mode) or inode not in {None, status.st_ino}:
                raise LocalFileError(f"'{sink.part}' is not the file that jet left there")
            if status.st_nlink > 1:
                # Only what is verified to its end gets another name, whatever had been noted of it by then.
                length = length if size is None else size
                if status.st_size != length:
                    # It has been edited since: it is the user's now.
                    raise LocalFileError(f"'{sink.part}' has another name and another size than jet left it with")
            if status.st_size > length:
                os.ftruncate(sink._descriptor, length)
            sink._position = min(length, status.st_size)
        return sink

    @property
    def position(self) -> int:
        """Bytes written so far, those of earlier sessions included."""
        return self._position

    @property
    def part_path(self) -> Path:
        """Where the part file is."""
        return self._path / self.part

    @property
    def part_inode(self) -> int:
        """Inode of the part file, by which a later session knows it again."""
        return self._inode

    def sync_in_background(self, synced: Callable[[int], None]) -> None:
        """Sync every 64 MiB or second on a thread of its own, which calls `synced` with the bytes that are safe.

        What `synced` raises is a failure like that of a sync.
        """
        self._syncer = Syncer(self.sync, synced, self._fail)

    def _fail(self, failure: JetError) -> None:
        self._failure = self._failure or failure

    def stop(self) -> None:
        """Do nothing: a file never waits."""

    def write(self, view: memoryview) -> None:
        """Write all of `view` at `position`.

        Raises LocalFileError if the disk is full, a limit is reached or a sync has failed, and what telling of a sync
        has failed with; `position` then counts what did get written.
        """
        if self._failure is not None:
            raise self._failure
        self._take_room(len(view))
        while view:
            try:
                count = os.pwrite(self._descriptor, view, self._position)
            except OSError as error:
                raise self._unwritable(error) from error
            self._position += count
            view = view[count:]
        if self._syncer is not None:
            self._syncer.written(self._position)

    def sync(self) -> int:
        """Have the part written to the disk; return how many bytes of it are safe.

        Raises LocalFileError if the disk refuses, and from then on always: the system forgets such a failure and would
        report success the next time, although the bytes are lost.
        """
        if self._failure is not None:
            raise self._failure
        position = self._position
        try:
            _sync_data(self._descriptor)
            if not self._entry_synced:
                # Bytes are of no use after a power cut if the part's name is gone.
                sync_directory(self._directory)
                self._entry_synced = True
        except OSError as error:
            self._failure = self._unwritable(error)
            raise self._failure from error
        self._synced = position
        return position

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` with what was written from `offset` on; return how many bytes there were."""
        filled = 0
        while filled < len(view):
            try:
                count = os.preadv(self._descriptor, [view[filled:]], offset + filled)
            except OSError as error:
                raise LocalFileError(f"cannot read '{self.part}': {reason(error)}") from error
            if count == 0:
                break
            filled += count
        return filled

    def truncate(self, length: int) -> None:
        """Drop what was written from `length` on; the next `write` continues there."""
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as error:
            raise self._unwritable(error) from error
        self._position = length
        self._synced = min(self._synced, length)

    def publish(self, mtime: float | None = None) -> Path:
        """Give the part its final name, durably and without replacing a file; return the path.

        `mtime` (seconds since the epoch) is applied where it is believable. If publishing fails the part stays.

        Raises LocalFileError naming the part, InterruptedTransferError if bytes are missing.
        """
        self._stop_syncer()
        try:
            self._check_length()
            return self._path / self._give_final_name(mtime)
        finally:
            self._close()

    def keep(self) -> int:
        """Sync and close, and leave the part for another session; return how many bytes a power cut leaves of it."""
        self._stop_syncer()
        if self._descriptor >= 0:
            # Whoever keeps a part is ending because of another error, and that is the one to tell.
            with contextlib.suppress(JetError):
                self.sync()
        self._close()
        return self._synced

    def discard(self) -> None:
        """Close and remove the part."""
        self._stop_syncer()
        if self._descriptor >= 0:
            # As in `keep`; and a file that is not ours any more is not ours to remove.
            with contextlib.suppress(OSError):
                if is_same_file(self.part, self._descriptor, self._directory):
                    os.unlink(self.part, dir_fd=self._directory)
        self._close()

    @contextlib.contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._close()
            raise LocalFileError(
                f"cannot write to '{self._shown_directory}': {reason(error)}", told=told(error)
            ) from error
        except BaseException:
            self._close()
            raise

    def _take_room(self, count: int) -> None:
        """Make sure that `count` more bytes fit where the size was not known before; looks now and then."""
        if self._size is None and count > self._room:
            free = free_bytes(self._path, self._directory)
            if count > free:
                raise self._unwritable(OSError(errno.ENOSPC, "only the reserve is left"))
            self._room = min(free, max(count, LOOK_AT_SPACE))
        self._room -= count

    def _open_part(self, flags: int) -> None:
        try:
            self._descriptor = os.open(self.part, _PART_FLAGS | flags, 0o600, dir_fd=self._directory)
        except OSError as error:
            if error.errno == errno.ENOENT and not flags:
                raise NotResumableError(f"'{self.part}' is gone from '{self._shown_directory}'") from error
            if error.errno in {errno.EEXIST, errno.ELOOP, errno.ENXIO, errno.EISDIR}:
                raise LocalFileError(f"something else is in the place of '{self.part}'") from error
            raise
        self._inode = os.fstat(self._descriptor).st_ino

    def _check_length(self) -> None:
        there = os.fstat(self._descriptor).st_size
        if there != self._position:
            raise LocalFileError(f"'{self.part}' was changed by another program: it has {there} bytes")
        if self._size not in {None, there}:
            raise InterruptedTransferError(f"'{shown(self.name)}' has only {there} of {self._size} bytes")

    def _give_final_name(self, mtime: float | None) -> str:
        if self._failure is not None:
            raise self._failure
        try:
            self._finish_part(mtime)
            final = give_final_name(self.part, self.name, self._descriptor, self._directory, on_exist=self._on_exist)
        except OSError as error:
            set_mode(self._descriptor, 0o600)
            raise self._unpublished(error) from error
        try:
            sync_directory(self._directory)
        except OSError as error:
            raise LocalFileError(f"'{shown(final)}' is saved, but may not survive a crash: {reason(error)}") from error
        return final

    def _finish_part(self, mtime: float | None) -> None:
        believed = believable_mtime(mtime, time.time())
        if believed is not None:
            # A courtesy, which some file systems do not allow.
            with contextlib.suppress(OSError):
                os.utime(self._descriptor, (believed, believed))
        os.fsync(self._descriptor)
        set_mode(self._descriptor, published_mode())

    def _unwritable(self, error: OSError) -> LocalFileError:
        hint = f"free some space in '{self._shown_directory}'" if error.errno in {errno.ENOSPC, errno.EDQUOT} else ""
        return LocalFileError(
            f"cannot write '{shown(self.name)}': {reason(error)} after {self._position} bytes",
            told=told(error),
            hint=hint,
        )

    def _unpublished(self, error: OSError) -> LocalFileError:
        return LocalFileError(
            f"cannot save '{shown(self.name)}': {reason(error)}; all of it is kept as '{self.part}'",
            told=told(error),
            hint=f"mv {shown(shlex.quote(str(self.part_path)))} NAME",
        )

    def _stop_syncer(self) -> None:
        if self._syncer is not None:
            self._syncer.stop()
            self._syncer = None

    def _close(self) -> None:
        for descriptor in (self._descriptor, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._directory = -1
