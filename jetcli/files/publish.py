"""How a verified part gets its final name: without replacing a file, whatever happens at the same time.

All names are single components inside an open directory, by its descriptor; no symbolic link is followed. The order of
the calls is the promise (ARCHITECTURE.md, publish order), and `jetcli.files.sink` keeps the rest of it.
"""

import contextlib
import errno
import os
import stat
from typing import Literal

from jetcli.protocol.policy import numbered

#: What to do where the final name is taken. "ask" is for whoever can ask before; afterwards it renames.
OnExist = Literal["ask", "rename", "overwrite", "skip", "fail"]

# What link answers on a file system without hard links: FAT says EPERM, FUSE and network file systems the others.
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOTSUP, errno.EMLINK})

_MAX_NUMBER = 10_000


def is_same_file(name: str, descriptor: int, directory: int) -> bool:
    """Tell whether `name` in `directory` is the very file that is open as `descriptor`; a link to it is not."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def is_taken(name: str, directory: int) -> bool:
    """Tell whether `name` exists in `directory`, if only as a symbolic link to nowhere."""
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def give_final_name(part: str, name: str, descriptor: int, directory: int, *, on_exist: OnExist) -> str:
    """Turn the part, open as `descriptor`, into `name` or a numbered variant of it; return the name that it got.

    A name that is already this very file was given before a crash, and is taken for the result.

    Raises FileExistsError (the part is as it was) if the name is taken and `on_exist` is neither "rename" nor
    "overwrite", and OSError if the file system refuses.
    """
    if on_exist == "overwrite":
        _replace(part, name, descriptor, directory)
        final = name
    else:
        final = _first_free(part, name, descriptor, directory, rename=on_exist in {"ask", "rename"})
    # The file has its name; a part that cannot be removed is only a second name for it.
    with contextlib.suppress(OSError):
        if is_same_file(part, descriptor, directory):
            os.unlink(part, dir_fd=directory)
    return final


def set_mode(descriptor: int, mode: int) -> None:
    """Set a file's mode, where the file system has modes to set: FAT and some network file systems do not."""
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}:
            raise


def published_mode() -> int:
    """Return the mode that any new file would have: 0666 without the umask's bits, never executable."""
    return 0o666 & ~_umask()


def _umask() -> int:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            told = next((line for line in status if line.startswith("Umask:")), None)
    except OSError:
        told = None
    if told is not None:
        return int(told.split()[1], 8)
    # Elsewhere it can only be read by setting it. What another thread creates meanwhile is closed rather than open.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def sync_directory(directory: int) -> None:
    """Have the names in `directory` written to the disk, where the file system knows how to."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOTSUP}:
            raise


def _first_free(part: str, name: str, descriptor: int, directory: int, *, rename: bool) -> str:
    last = _MAX_NUMBER if rename else 1
    for n in range(1, last + 1):
        candidate = name if n == 1 else numbered(name, n)
        try:
            _link(part, candidate, descriptor, directory)
        except FileExistsError:
            if not is_same_file(candidate, descriptor, directory):
                continue
        return candidate
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def _link(part: str, final: str, descriptor: int, directory: int) -> None:
    try:
        os.link(part, final, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _rename_over_placeholder(part, final, descriptor, directory)
        return
    # Looked at afterwards and not before: nobody can slip another file under the part's name in between.
    if not is_same_file(final, descriptor, directory):
        os.unlink(final, dir_fd=directory)
        raise _part_replaced(part)


def _rename_over_placeholder(part: str, final: str, descriptor: int, directory: int) -> None:
    """Reserve the name by an empty file of our own and rename over that: rename alone would replace any file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    placeholder = os.open(final, flags, 0o600, dir_fd=directory)
    try:
        if not is_same_file(part, descriptor, directory):
            raise _part_replaced(part)
        if not is_same_file(final, placeholder, directory):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), final)
        os.rename(part, final, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        if is_same_file(final, placeholder, directory):
            os.unlink(final, dir_fd=directory)
        raise
    finally:
        os.close(placeholder)


def _replace(part: str, name: str, descriptor: int, directory: int) -> None:
    """Replace a regular file, as the user asked; a directory, device or symbolic link is not what was meant."""
    try:
        there = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(there.st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    if is_same_file(name, descriptor, directory):
        return
    if not is_same_file(part, descriptor, directory):
        raise _part_replaced(part)
    os.replace(part, name, src_dir_fd=directory, dst_dir_fd=directory)


def _part_replaced(part: str) -> OSError:
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE), part)
