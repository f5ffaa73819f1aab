"""What an archive may make, and how: files, directories and links below one new directory, and nothing else.

Every name is walked one component at a time, by directory descriptors and through no symbolic link, so that no archive
writes outside of the directory, whatever it holds and in whatever order. A symbolic link may go up from where it lies
first and then only down: it then stays inside even if what it names is, or becomes, another such link. What bytes an
archive is made of is not known here.
"""

import contextlib
import errno
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Sequence

from msgspec import Struct

from jetcli.protocol.policy import shown

#: Names cost inodes and blocks that no size counts. This is twice the source tree of Linux.
_MOST_NAMES = 200_000

#: What a system takes for a path (PATH_MAX of Linux): nobody could open what has a longer one.
_LONGEST_NAME = 4096

#: Who removes a tree keeps a descriptor open for each level of it, and some systems allow a process 256.
_DEEPEST = 128

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# What systems say of a symbolic link, or a file, where O_DIRECTORY and O_NOFOLLOW want a directory.
_NO_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP, errno.EMLINK})


class ArchiveError(Exception):
    """An archive wants what it must not have; the text is for both sides and names no path of this machine."""


class Member(Struct, frozen=True):
    """What an archive says of one name; `type` and names are tarfile's words.

    `size` is that of the file, of which the archive has `stored` bytes: those of `extents`, places and lengths.
    """

    name: str
    type: bytes
    linkname: str
    size: int
    stored: int
    mtime: float
    extents: list[tuple[int, int]]


class Extraction:
    """The new directory that is open as `root`, while an archive is unpacked into it.

    `most` is the number of bytes that may come out of the archive. `links_leave_top` tells afterwards whether a
    symbolic link goes through `root` itself, so that what lies in it cannot be moved up by a level.
    """

    def __init__(self, root: int, most: int | None) -> None:
        self._root = root
        self._most = most
        self._bytes = self._members = self._folders = 0
        self.links_leave_top = False

    def add(self, member: Member, content: Iterable[tuple[int, bytes]]) -> None:
        """Make what a member tells of; a file of `content`, which has the place of each piece.

        A later member of the same name is the newer one and replaces it, but a directory is not replaced, nor does it
        replace anything.
        Raises ArchiveError for what an archive must not have, and OSError if the file system refuses.
        """
        self._members = _counted(self._members)
        self._bytes += max(member.size, member.stored)
        if self._most is not None and self._bytes > self._most:
            raise ArchiveError("it holds more than there is room for")
        path = _inside(member.name)
        match member.type:
            case tarfile.DIRTYPE:
                self._directory(member, path)
            case tarfile.SYMTYPE:
                self._symbolic_link(member.name, path, member.linkname)
            case tarfile.LNKTYPE:
                self._hard_link(member, path)
            case kind if kind in tarfile.REGULAR_TYPES:
                self._file(member, path, content)
            case _:
                raise ArchiveError(f"'{shown(member.name)}' is neither a file, a directory nor a link")

    def _directory(self, member: Member, path: Sequence[str]) -> None:
        folder = self._open(path, member.name)
        try:
            _set_time(folder, member.mtime)
        finally:
            os.close(folder)

    def _file(self, member: Member, path: Sequence[str], content: Iterable[tuple[int, bytes]]) -> None:
        folder = self._open(path[:-1], member.name)
        try:
            name = _free_name(path, folder, member.name)
            # Made with the mode of any new file: the archive's could make it executable, or anybody's.
            descriptor = os.open(name, _NEW_FILE, 0o666, dir_fd=folder)
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "wb") as file:
            for place, piece in content:
                file.seek(place)
                file.write(piece)
            file.truncate(member.size)
            _set_time(descriptor, member.mtime)

    def _symbolic_link(self, name: str, path: Sequence[str], linkname: str) -> None:
        _check_length(linkname, name)
        target = posixpath.normpath(linkname)
        up = target.split("/").count("..")
        if linkname.split("/").count("..") == up:
            target = linkname  # it goes only down after it went up, and stays as it is
        if target.startswith("/") or up >= len(path):
            raise ArchiveError(f"'{shown(name)}' would lead outside of the new directory")
        folder = self._open(path[:-1], name)
        try:
            os.symlink(target, _free_name(path, folder, name), dir_fd=folder)
        finally:
            os.close(folder)
        self.links_leave_top |= up == len(path) - 1 > 0

    def _hard_link(self, member: Member, path: Sequence[str]) -> None:
        """Give a file of this archive another name; to a symbolic link, which means the same nowhere else, a copy."""
        _check_length(member.linkname, member.name)
        try:
            original = _inside(member.linkname)
        except ArchiveError as error:
            raise ArchiveError(f"'{shown(member.name)}' would lead outside of the new directory") from error
        with contextlib.ExitStack() as opened:
            there = self._open(original[:-1], member.name)
            opened.callback(os.close, there)
            mode = _mode(original, there)
            if stat.S_ISLNK(mode):
                self._symbolic_link(member.name, path, os.readlink(original[-1], dir_fd=there))
            elif not stat.S_ISREG(mode):
                raise ArchiveError(f"'{shown(member.name)}' is another name of no file before it")
            elif original != path:
                here = self._open(path[:-1], member.name)
                opened.callback(os.close, here)
                name = _free_name(path, here, member.name)
                os.link(original[-1], name, src_dir_fd=there, dst_dir_fd=here, follow_symlinks=False)

    def _open(self, folders: Sequence[str], name: str) -> int:
        """Open a directory, for the member `name`, component by component; make what is not there."""
        here = os.open(".", _FOLDER, dir_fd=self._root)
        try:
            for folder in folders:
                below = self._step(folder, here, name)
                os.close(here)
                here = below
        except BaseException:
            os.close(here)
            raise
        return here

    def _step(self, folder: str, here: int, name: str) -> int:
        try:
            return os.open(folder, _FOLDER, dir_fd=here)
        except FileNotFoundError:
            self._folders = _counted(self._folders)
            os.mkdir(folder, 0o777, dir_fd=here)
            return os.open(folder, _FOLDER, dir_fd=here)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            raise ArchiveError(f"'{shown(name)}' goes through '{shown(folder)}', which is no directory") from error


def _counted(before: int) -> int:
    if before >= _MOST_NAMES:
        raise ArchiveError(f"it holds more than {_MOST_NAMES:,} names")
    return before + 1


def _inside(name: str) -> list[str]:
    """Split a name into components, none of them `..`; raise ArchiveError if it is absolute, too long or leads up.

    No parent is ever a symbolic link, so that `a/..` can be left out.
    """
    if name.startswith("/"):
        raise ArchiveError(f"'{shown(name)}' has an absolute name")
    _check_length(name, name)
    path = [part for part in posixpath.normpath(name).split("/") if part != "."]
    if ".." in path:
        raise ArchiveError(f"'{shown(name)}' would lie outside of the new directory")
    if len(path) > _DEEPEST:
        raise ArchiveError(f"'{shown(name)}' lies more than {_DEEPEST} directories deep")
    return path


def _check_length(text: str, name: str) -> None:
    if len(os.fsencode(text)) >= _LONGEST_NAME:
        raise ArchiveError(f"'{shown(name)}' has too long a name or target")


def _mode(path: Sequence[str], folder: int) -> int:
    """Return the mode of what is called like the last of `path` in `folder`, 0 for nothing."""
    if not path:
        return stat.S_IFDIR
    try:
        return os.stat(path[-1], dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def _free_name(path: Sequence[str], folder: int, name: str) -> str:
    """Return the last of `path`, once nothing in `folder` has that name any more."""
    mode = _mode(path, folder)
    if stat.S_ISDIR(mode):
        raise ArchiveError(f"'{shown(name)}' would take the place of a directory")
    if mode:
        os.unlink(path[-1], dir_fd=folder)
    return path[-1]


def _set_time(descriptor: int, mtime: float) -> None:
    """Set the time of the archive, where it is one."""
    with contextlib.suppress(OSError, OverflowError, ValueError):
        os.utime(descriptor, (mtime, mtime))
