"""Locks between processes of one account: flock on a file that says who holds it.

The kernel releases a flock with its holder, however that ends, so a lock is never stale. One lock guards every OMEMO
operation of an account; one for each transfer makes a single process its owner; one for each process that is online
tells the others that it is on this machine. What is done under a lock is not known here.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from msgspec import Struct

from jetcli.errors import SetupError
from jetcli.state.private import unusable

#: An OMEMO operation takes a fraction of a second; one that takes this long will not end by itself.
HELD_AT_MOST_S = 20.0

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05
_NOTE_LIMIT = 512
#: How old a file of nobody's must be to be taken away.
_OLD_S = 3600.0


class Holder(Struct, frozen=True):
    """The process that holds a lock, as it wrote itself down; `taken` differs from one holding to the next."""

    pid: int
    command: str
    taken: int

    def __str__(self) -> str:
        return f"process {self.pid}, {self.command!r}" if self.pid else "another process"


_UNKNOWN = Holder(0, "", 0)


class _Held:
    """A lock that this process holds."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def note(self, command: str) -> None:
        text = json.dumps([os.getpid(), command[:64], time.monotonic_ns()])
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self, *, remove: bool = False) -> None:
        if remove:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


@contextlib.asynccontextmanager
async def account_lock(
    directory: Path,
    name: str,
    *,
    command: str,
    wait_s: float = HELD_AT_MOST_S,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[None]:
    """Hold the lock `name` of the account that has its state in `directory`.

    `command` ("jet send") is what others are told; it holds no argument of the user. The wait of `wait_s` seconds
    begins again with every new holder: a queue of busy processes is no failure, a stopped one is named by SetupError.
    Two tasks of one process exclude each other as well; a lock cannot be taken twice by one task.
    """
    path = directory / f"{name}.lock"
    blamed: Holder | None = None
    since, delay_s = clock(), _FIRST_PAUSE_S
    while not isinstance(taken := _take(path), _Held):
        if taken != blamed:
            blamed, since = taken, clock()
        if clock() - since >= wait_s:
            raise SetupError(
                f"another jet ({taken}) has held '{path}' for {wait_s:.0f} seconds",
                hint=f"stop it with  kill {taken.pid}" if taken.pid else "",
            )
        await pause(delay_s)
        delay_s = min(2 * delay_s, _LONGEST_PAUSE_S)
    try:
        taken.note(command)
        yield
    finally:
        taken.release()


def transfer_holder(directory: Path, transfer_id: str) -> Holder | None:
    """Return the process that owns a transfer, or None; owning it is not disturbed by the question."""
    return _holder(_transfer_path(directory, transfer_id))


@contextlib.contextmanager
def transfer_lock(directory: Path, transfer_id: str, *, command: str) -> Iterator[None]:
    """Own the transfer `transfer_id` of the account that has its state in `directory`, without waiting.

    Raises SetupError naming the process that owns it.
    """
    taken = _take(_transfer_path(directory, transfer_id))
    if isinstance(taken, Holder):
        raise SetupError(f"transfer {transfer_id} is in the hands of another jet ({taken})")
    try:
        taken.note(command)
        yield
    finally:
        taken.release(remove=True)


@contextlib.contextmanager
def resource_lock(directory: Path, resource: str, *, command: str) -> Iterator[None]:
    """Show other processes with the same state that `resource` of the account is one of them."""
    _remove_old_ones(directory)
    taken = _take(_resource_path(directory, resource))
    if isinstance(taken, Holder):
        raise SetupError(f"another jet ({taken}) is online as '{resource}'")
    try:
        taken.note(command)
        yield
    finally:
        taken.release(remove=True)


def runs_here(directory: Path, resource: str) -> bool:
    """Say whether a process with the same state, this one or another, is online as `resource` of the account."""
    return _holder(_resource_path(directory, resource)) is not None


def online_here(directory: Path) -> list[Holder]:
    """Return the processes with the same state that are online now."""
    holders = (_holder(path) for path in sorted(directory.glob("online-*.lock")))
    return [holder for holder in holders if holder is not None]


def _transfer_path(directory: Path, transfer_id: str) -> Path:
    return directory / f"transfer-{transfer_id}.lock"


def _resource_path(directory: Path, resource: str) -> Path:
    # A resource may hold any character, and it is the server that has the last word on it.
    return directory / f"online-{hashlib.sha256(resource.encode()).hexdigest()[:16]}.lock"


def _remove_old_ones(directory: Path) -> None:
    """Remove what killed processes have left. A new file is left alone: its holder may be about to lock it."""
    before = time.time() - _OLD_S
    for path in directory.glob("online-*.lock"):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < before and _holder(path) is None:
                path.unlink()


def _holder(path: Path) -> Holder | None:
    """Return who holds a lock, without taking it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _owner(descriptor)
    finally:
        os.close(descriptor)


def _owner(descriptor: int) -> Holder | None:
    """Return who holds the lock of an open file, or None; until that is closed nobody can take it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(descriptor)
    return None


def _take(path: Path) -> _Held | Holder:
    """Take the lock, or return who holds it; raises SetupError where there can be none."""
    try:
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_current(path, descriptor):
                    os.fchmod(descriptor, 0o600)
                    return _Held(path, descriptor)
            except BlockingIOError:
                if (holder := _owner(descriptor)) is not None:
                    os.close(descriptor)
                    return holder
            # Its holder removed the file while we opened it, so that this lock excludes nobody; or somebody has only
            # asked who holds it.
            os.close(descriptor)
    except OSError as error:
        raise unusable(path, error) from error


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False


def _read_holder(descriptor: int) -> Holder:
    try:
        pid, command, taken = json.loads(os.pread(descriptor, _NOTE_LIMIT, 0))
        return Holder(int(pid), str(command), int(taken))
    except (ValueError, TypeError):  # the holder has not written itself down yet
        return _UNKNOWN
