"""Pipes at either end of a transfer: standard input as what is sent, standard output as where it goes.

A pipe has no beginning to come back to and no end that is known before it has come, and whoever is at its other end may
take all the time in the world. So it is read and written in order, once, in a way that `stop` can end from any thread.
What is verified is not known here.
"""

import errno
import os
import select
import stat
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from jetcli.errors import ClosedOutputError, InterruptedTransferError, LocalFileError
from jetcli.files.reason import reason
from jetcli.files.sink import Output
from jetcli.files.source import Origin, sendable
from jetcli.files.space import check_space

_COPY_SIZE = 256 * 1024


class _Gate:
    """Waits until a descriptor is ready; `stop`, from any thread, ends that wait and every later one."""

    def __init__(self, descriptor: int, event: int) -> None:
        self.waiting = False
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
        self._ready = select.poll()
        self._ready.register(descriptor, event)
        self._ready.register(self._woken, select.POLLIN)

    def wait(self) -> None:
        """Return when the descriptor is ready; raise InterruptedTransferError after `stop`."""
        self.waiting = True
        ready = self._ready.poll()
        if any(descriptor == self._woken for descriptor, _ in ready):
            raise InterruptedTransferError("stopped")
        self.waiting = False

    def stop(self) -> None:
        if self._wake >= 0:
            os.write(self._wake, b".")

    def close(self) -> None:
        for descriptor in (self._woken, self._wake):
            if descriptor >= 0:
                os.close(descriptor)
        self._woken = self._wake = -1


class PipeSource:
    """What comes out of `descriptor`, sent as `name`; `size` is what the user says, None where nobody knows.

    It is read once: a transfer that breaks cannot be resumed. A context manager; the descriptor stays open.
    """

    path = None
    identity = None
    mtime = None
    resumable = False

    def __init__(self, descriptor: int, name: str, size: int | None = None) -> None:
        self.name = sendable(name)
        self.size = size
        self._descriptor = descriptor
        self._position = 0
        self._gate = _Gate(descriptor, select.POLLIN)

    @property
    def waiting(self) -> bool:
        """Whether the reader waits for whoever writes the pipe."""
        return self._gate.waiting

    def read_into(self, view: memoryview, offset: int) -> int:
        """Put what comes next into `view` and return how much; 0 at the end. `offset` must be how far it was read.

        Raises LocalFileError where the pipe cannot be read, InterruptedTransferError after `stop`.
        """
        if offset != self._position:
            raise LocalFileError(f"'{self.name}' comes out of a pipe, which cannot be read again")
        self._gate.wait()
        try:
            count = os.readv(self._descriptor, [view])
        except OSError as error:
            raise LocalFileError(f"cannot read '{self.name}': {reason(error)}") from error
        self._position += count
        return count

    def changed(self) -> str | None:
        """Say that there is more than `size`, once that much has been read; a pipe has no other way to change."""
        if self.size is None or self._position < self.size:
            return None
        more = self.read_into(memoryview(bytearray(1)), self._position)
        return f"it has more than the {self.size:,} bytes that were announced" if more else None

    def stop(self) -> None:
        """Make the present and every later reading fail, from any thread."""
        self._gate.stop()

    def close(self) -> None:
        """Release what was needed for reading."""
        self._gate.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SpooledSource:
    """What a source without a size held, in a temporary file. A context manager."""

    resumable = False
    waiting = False

    def __init__(self, file: IO[bytes], name: str, size: int, mtime: float | None) -> None:
        self.name = name
        self.size = size
        self.mtime = mtime
        self._file = file

    @classmethod
    def of(cls, origin: Origin) -> Self:
        """Store all of `origin`; raises LocalFileError where it cannot be read, or where there is no room."""
        file, position = spool(None), 0
        try:
            buffer = memoryview(bytearray(_COPY_SIZE))
            while count := origin.read_into(buffer, position):
                _keep(file, buffer[:count])
                position += count
        except BaseException:
            file.close()
            raise
        return cls(file, origin.name, position, origin.mtime)

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` from `offset` on; return how many bytes there were, 0 at the end."""
        return os.preadv(self._file.fileno(), [view], offset)

    def changed(self) -> str | None:
        """Return None: nobody else can reach it."""

    def stop(self) -> None:
        """Do nothing: a file never waits."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class PipeOutput:
    """An `Output` that hands on every byte at once; for bytes that are verified before they get here."""

    resumable = False

    def __init__(self, descriptor: int) -> None:
        self._own = _without_waiting(descriptor)
        self._descriptor = self._own if self._own is not None else descriptor
        # What is written to anything else but a file might wait where `stop` does not reach, unless it is this short.
        whole = self._own is not None or stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._most = _COPY_SIZE if whole else select.PIPE_BUF
        self._position = 0
        self._gate = _Gate(self._descriptor, select.POLLOUT)

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._position

    @property
    def waiting(self) -> bool:
        """Whether the writer waits for whoever reads."""
        return self._gate.waiting

    def write(self, view: memoryview) -> None:
        """Write all of `view`; raise ClosedOutputError where nobody reads any more, LocalFileError if it fails."""
        while view:
            self._gate.wait()
            try:
                count = os.write(self._descriptor, view[: self._most])
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno == errno.EPIPE:
                    raise ClosedOutputError("nobody reads standard output any more") from error
                raise LocalFileError(f"cannot write to standard output: {reason(error)}") from error
            self._position += count
            view = view[count:]

    def sync(self) -> int:
        """Return how much was written; it is the reader's now."""
        return self._position

    def publish(self, mtime: float | None = None) -> None:
        """Do nothing more: it is all there."""
        del mtime
        self._close()

    def keep(self) -> int:
        """Keep nothing: what was handed on has no place to come back to."""
        self._close()
        return 0

    def discard(self) -> None:
        """Take nothing back: what was handed on is gone."""
        self._close()

    def stop(self) -> None:
        """Make the present and every later writing fail, from any thread."""
        self._gate.stop()

    def _close(self) -> None:
        self._gate.close()
        if self._own is not None:
            os.close(self._own)
            self._own = None


class HeldBackOutput:
    """An `Output` that keeps everything in a file without a name until `publish`; for what its end verifies."""

    resumable = False
    waiting = False

    def __init__(self, output: Output, size: int | None) -> None:
        self._output = output
        self._file = spool(size)
        self._position = 0

    @property
    def position(self) -> int:
        """Bytes written so far."""
        return self._position

    def write(self, view: memoryview) -> None:
        """Keep `view`; raise LocalFileError where there is no room for it."""
        _keep(self._file, view)
        self._position += len(view)

    def sync(self) -> int:
        """Return how much is safe: nothing."""
        return 0

    def publish(self, mtime: float | None = None) -> None:
        """Hand on everything."""
        self._file.seek(0)
        buffer = memoryview(bytearray(_COPY_SIZE))
        while count := self._file.readinto(buffer):  # type: ignore[attr-defined]  # a raw file has it
            self._output.write(buffer[:count])
        self._output.publish(mtime)
        self._file.close()

    def keep(self) -> int:
        """Keep nothing: none of it was ever verified."""
        self.discard()
        return 0

    def discard(self) -> None:
        """Remove what was kept."""
        self._output.discard()
        self._file.close()

    def stop(self) -> None:
        """Make the present and every later writing fail, from any thread."""
        self._output.stop()


def spool(size: int | None) -> IO[bytes]:
    """Return an empty file without a name for `size` bytes, in the directory for temporary files (TMPDIR).

    Raises LocalFileError where there is no room.
    """
    try:
        if size is not None:
            check_space(Path(tempfile.gettempdir()), size)
        return tempfile.TemporaryFile(buffering=0, prefix="jet-")
    except OSError as error:
        raise LocalFileError(f"cannot make a temporary file: {reason(error)}") from error


def _keep(file: IO[bytes], view: memoryview) -> None:
    while view:
        try:
            view = view[file.write(view) :]
        except OSError as error:
            raise LocalFileError(
                f"cannot write to a temporary file: {reason(error)}", hint="TMPDIR=DIR names a directory with more room"
            ) from error


def _without_waiting(descriptor: int) -> int | None:
    """Open the pipe behind `descriptor` once more, in a way that writing never waits; None where that cannot be.

    The descriptor itself is shared with the programs that had it before jet, and they may want to wait.
    """
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return None
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
