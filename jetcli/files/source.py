"""The file that is sent: opened once, read at offsets, and watched for changes until its last byte has gone.

Reading blocks; it is done on the worker thread of a stream. What is read may be sent, but its tag may not while
`Source.changed` gives a reason: the receiver would believe a mixture of two versions.
"""

import errno
import os
import shlex
import stat
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from jetcli.errors import LocalFileError
from jetcli.files.reason import reason
from jetcli.protocol.policy import shown

# Without O_NONBLOCK the opening of a FIFO that took the file's place would wait for a writer for ever.
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class SourceIdentity(Struct, frozen=True):
    """What tells one state of a file from another; times in nanoseconds since the epoch.

    The ctime cannot be set back as the mtime can, so that an edit with its mtime restored is seen too.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Take the identity out of what `stat` says."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class Origin(Protocol):
    """What is sent: a file (`Source`), or a pipe that is read once. A worker thread reads, any thread may `stop`."""

    @property
    def name(self) -> str:
        """Name on the wire."""

    @property
    def size(self) -> int | None:
        """Bytes, None where only the end will tell."""

    @property
    def mtime(self) -> float | None:
        """When it was last modified, in seconds since the epoch, where that means something."""

    @property
    def resumable(self) -> bool:
        """Whether another session may go on from the middle."""

    @property
    def waiting(self) -> bool:
        """Whether reading waits for somebody."""

    def read_into(self, view: memoryview, offset: int, /) -> int:
        """Fill `view` from `offset` on; return how many bytes there were, 0 at the end."""

    def changed(self) -> str | None:
        """Say how it differs from what was announced, or None."""

    def stop(self) -> None:
        """Make the present and every later reading fail that would have to wait."""


class Source:
    """An open regular file: `name` goes on the wire, `identity` is what it was when it was opened."""

    resumable = True
    waiting = False

    def __init__(self, path: Path, name: str, descriptor: int, identity: SourceIdentity) -> None:
        self.path = path
        self.name = name
        self.identity = identity
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> Self:
        """Open a regular file for sending, under its own name or as `name`.

        Raises LocalFileError if it is missing, unreadable or no regular file, or if a stanza cannot carry its name.
        """
        name = sendable(path.name if name is None else name)
        try:
            # Before the opening, since that alone already does something to a tape or a terminal.
            _refuse_irregular(path, os.stat(path))
            descriptor = os.open(path, _OPEN_FLAGS)
        except OSError as error:
            raise _unreadable(path, error) from error
        try:
            status = os.fstat(descriptor)
            _refuse_irregular(path, status)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, name, descriptor, SourceIdentity.of(status))

    @property
    def size(self) -> int:
        """Bytes of the file when it was opened."""
        return self.identity.size

    @property
    def mtime(self) -> float:
        """When the file was last modified, in seconds since the epoch."""
        return self.identity.mtime_ns / 1e9

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` with the bytes from `offset` on; return how many there were, fewer only at the end of the file.

        Raises LocalFileError if the file cannot be read.
        """
        filled = 0
        while filled < len(view):
            try:
                count = os.preadv(self._descriptor, [view[filled:]], offset + filled)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if count == 0:
                break
            filled += count
        return filled

    def changed(self) -> str | None:
        """Say how the file differs from what was opened, or return None while it is the same."""
        now = SourceIdentity.of(os.fstat(self._descriptor))
        if now.size != self.size:
            return f"its size went from {self.size} to {now.size} bytes"
        try:
            there = SourceIdentity.of(os.stat(self.path))
        except OSError as error:
            return "it was removed" if error.errno == errno.ENOENT else reason(error)
        if (there.device, there.inode) != (now.device, now.inode):
            return "another file took its place"
        return None if now == self.identity else "it was modified"

    def superseded(self) -> bool:
        """Say whether nothing more of what was opened can be had by its path: it is gone, or of another size or time.

        What only might be another file is not: its bytes can be compared with what the receiver holds.
        """
        try:
            there = SourceIdentity.of(os.stat(self.path))
        except OSError as error:
            return error.errno == errno.ENOENT
        return (there.size, there.mtime_ns) != (self.identity.size, self.identity.mtime_ns)

    def stop(self) -> None:
        """Do nothing: a file never waits."""

    def close(self) -> None:
        """Close the file; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


#: The word for standard input; a file of that name is written with its directory.
STDIN = Path("-")


def check_sendable(path: Path, name: str | None) -> None:
    """Raise LocalFileError where the file or directory `path` cannot be read; standard input always can."""
    if path == STDIN:
        return
    if not path.is_dir():
        Source.open(path, name).close()
        return
    try:
        os.listdir(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def sendable(name: str) -> str:
    """Return `name` if it is one of a file, and XML can carry it: no control characters, no bytes that are not UTF-8.

    Raises LocalFileError.
    """
    if (
        name in {"", ".", ".."}
        or "/" in name
        or any(unicodedata.category(char) in {"Cc", "Cs"} or char in "\ufffe\uffff" for char in name)
    ):
        raise LocalFileError(
            f"the name '{shown(name)}' cannot be sent", hint="jet send --name NAME sends it under another"
        )
    return name


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    named, quoted = shown(str(path)), shown(shlex.quote(str(path)))
    if stat.S_ISDIR(status.st_mode):
        raise LocalFileError(f"'{named}' is a directory", hint=f"tar c {quoted} | jet send - JID --name NAME.tar")
    raise LocalFileError(f"'{named}' is not a regular file", hint=f"jet send - JID --name NAME < {quoted}")


def _unreadable(path: Path, error: OSError) -> LocalFileError:
    return LocalFileError(f"cannot read '{shown(str(path))}': {reason(error)}")
