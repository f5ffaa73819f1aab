"""Directories and files that only their owner may read, whatever the umask is.

Everything that jet keeps goes through here: directories 0700, files 0600, replaced whole or not at all. What others can
read is refused, never silently mended: a key that was readable may have been read. It knows nothing of what is inside.
"""

import contextlib
import os
import stat
from pathlib import Path

from jetcli.errors import SetupError

_SHARED = stat.S_IRWXG | stat.S_IRWXO


def private_directory(path: Path) -> Path:
    """Make the directory `path` with mode 0700 where it is missing, and return it.

    Raises SetupError where `path` cannot be made, is no directory, or can be entered by others.
    """
    try:
        make_directories(path)
        mode = path.stat().st_mode
    except OSError as error:
        raise unusable(path, error) from error
    if not stat.S_ISDIR(mode):
        raise SetupError(f"'{path}' is not a directory")
    if mode & _SHARED:
        raise SetupError(f"'{path}' can be read by others", hint=f"chmod 700 '{path}'")
    return path


def make_directories(path: Path) -> None:
    """Make `path` and its parents with mode 0700 where they are missing; raises OSError."""
    for missing in reversed([parent for parent in (path, *path.parents) if not parent.exists()]):
        with contextlib.suppress(FileExistsError):
            os.mkdir(missing, 0o700)
            os.chmod(missing, 0o700)  # the umask may have taken bits that we need ourselves


def refuse_shared(path: Path) -> None:
    """Raise SetupError if anyone but its owner can read or write the file `path`; a missing file passes."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(path, error) from error
    if mode & _SHARED:
        raise SetupError(f"'{path}' can be read by others", hint=f"chmod 600 '{path}'")


def create_private(path: Path) -> int:
    """Create the file `path` with mode 0600 and return its descriptor; FileExistsError if there is one."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def replace_private(path: Path, data: bytes) -> None:
    """Give the file `path` the content `data` and mode 0600; after a crash it holds the old or the new content.

    Directories that are missing are made.
    A symbolic link is followed, so that a configuration kept elsewhere stays there. Raises SetupError.
    """
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        make_directories(path.parent)
        fresh.unlink(missing_ok=True)
        with open(create_private(fresh), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise unusable(path, error) from error


def remove_private(path: Path) -> None:
    """Delete the file `path`, which need not exist; raises SetupError."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unusable(path, error) from error


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unusable(path: Path, error: OSError) -> SetupError:
    """Return the SetupError that tells why `path` cannot be used."""
    return SetupError(f"cannot use '{path}': {(error.strerror or 'input or output error').lower()}")
