"""Directories as one tar stream: packed while they are sent, unpacked into a new directory after they are verified.

Unpacking trusts nothing: `jetcli.files.tarstream` reads with limits, and `jetcli.files.extraction` makes what may be
made. Nothing is unpacked over what is there already.
"""

import lzma
import os
import shutil
import stat
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from jetcli.errors import LocalFileError, RemoteProtocolError
from jetcli.files.extraction import ArchiveError, Extraction
from jetcli.files.pipe import PipeSource
from jetcli.files.publish import is_taken
from jetcli.files.reason import reason
from jetcli.files.tarstream import TarStream
from jetcli.protocol.policy import numbered, shown

_DAMAGED = "it is damaged, or no archive"
#: Directories of one name, told apart by numbers.
_MOST_NUMBERS = 10_000


class ArchiveSource(PipeSource):
    """The tree below `directory` as a tar stream, made while it is read. A context manager.

    Owners are left out. Sockets, FIFOs and devices are passed over, and told to `skipped`. A file that cannot be read
    or that changes its size meanwhile fails the whole stream, so that its end is never sent.
    """

    def __init__(self, directory: Path, name: str | None, skipped: Callable[[str], None] = lambda _: None) -> None:
        self._directory = directory
        self._skipped = skipped
        self._failure: LocalFileError | None = None
        reading, self._writing = os.pipe()
        self._reading = reading
        root = Path(os.path.abspath(directory)).name or "root"
        self._root = root
        super().__init__(reading, name or f"{root}.tar")
        self._packer = threading.Thread(target=self._pack, name="jet-pack", daemon=True)
        self._packer.start()

    def read_into(self, view: memoryview, offset: int) -> int:
        """Put what comes next into `view`, see `PipeSource`; raises LocalFileError for what could not be packed."""
        count = super().read_into(view, offset)
        if not count and len(view):
            self._packer.join()  # the pipe ends before it is known why
            if self._failure is not None:
                raise self._failure
        return count

    def close(self) -> None:
        """Stop packing."""
        os.close(self._reading)  # the packer's next write fails
        self._packer.join()
        super().close()

    def _pack(self) -> None:
        try:
            with os.fdopen(self._writing, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as tar:
                for path, member in self._members():
                    self._add(tar, path, member)
        except BrokenPipeError:
            return
        except (OSError, tarfile.TarError) as error:
            cause = reason(error) if isinstance(error, OSError) and error.errno else str(error)
            self._failure = LocalFileError(f"cannot pack '{shown(str(self._directory))}': {shown(cause)}")

    def _members(self) -> Iterator[tuple[Path, str]]:
        yield self._directory, self._root
        for folder, folders, files in os.walk(self._directory, onerror=_raise):
            folders.sort()
            inside = Path(folder).relative_to(self._directory)
            for name in sorted([*folders, *files]):
                yield Path(folder) / name, str(Path(self._root) / inside / name)

    def _add(self, tar: tarfile.TarFile, path: Path, member: str) -> None:
        status = path.lstat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            self._skipped(str(path))
            return
        info = tar.gettarinfo(path, arcname=member)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        if info.isreg():
            with path.open("rb") as file:
                tar.addfile(info, file)
        else:
            tar.addfile(info)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _raise(error: OSError) -> None:
    raise error


def is_archive(name: str) -> bool:
    """Say whether a file of this name is one that `unpack` takes."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def unpack(archive: Path, *, most: int | None = None) -> Path:
    """Unpack a verified archive into a new directory beside it, remove the archive, and return the directory.

    The directory is named like the archive without its suffix, with a number where that is taken. `most` is the number
    of bytes that may come out of it. Raises RemoteProtocolError for an archive that is damaged or wants more than to
    lie inside its directory; then nothing of it is left, and the archive stays.
    """
    target = _new_directory(archive)
    try:
        with archive.open("rb") as file:
            lifted = _extract(TarStream(file), target, most)
    except ArchiveError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise _refused(archive, str(error)) from error
    except (tarfile.TarError, ValueError, EOFError, zlib.error, lzma.LZMAError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise _refused(archive, _DAMAGED) from error
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        if error.errno is None:  # bz2 and gzip say so what they cannot decompress
            raise _refused(archive, _DAMAGED) from error
        raise LocalFileError(f"cannot unpack '{shown(archive.name)}': {reason(error)}") from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    archive.unlink()
    return _lifted(target) if lifted else target


def _refused(archive: Path, cause: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"'{shown(archive.name)}' was not unpacked: {cause}", condition="decline")


def _extract(tar: TarStream, target: Path, most: int | None) -> bool:
    """Unpack into `target`; tell whether what lies there may be moved up by a level."""
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        extraction = Extraction(root, most)
        while (member := tar.next()) is not None:
            extraction.add(member, tar.content(member))
    finally:
        os.close(root)
    return not extraction.links_leave_top


def _new_directory(archive: Path) -> Path:
    stem = archive.name
    for suffix in (".gz", ".bz2", ".xz", ".tgz", ".tar"):
        stem = stem.removesuffix(suffix)
    parent = os.open(archive.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for n in range(1, _MOST_NUMBERS):
            name = stem if n == 1 else numbered(stem, n)
            if not is_taken(name, parent):
                os.mkdir(name, 0o777, dir_fd=parent)
                return archive.parent / name
    except OSError as error:
        raise LocalFileError(f"cannot unpack '{shown(archive.name)}': {reason(error)}") from error
    finally:
        os.close(parent)
    raise LocalFileError(f"'{shown(stem)}' exists already")


def _is_named_after(name: str, original: str) -> bool:
    # Numbered as a directory, or because its archive was.
    return name == original or any(
        name in (numbered(original, n), f"{original} ({n})") for n in range(2, _MOST_NUMBERS)
    )


def _lifted(target: Path) -> Path:
    """Take away the one level that an archive of a directory of the same name has, numbered or not."""
    found = os.listdir(target)
    if len(found) != 1 or not _is_named_after(target.name, found[0]):
        return target
    inside = target / found[0]
    if inside.is_symlink() or not inside.is_dir():
        return target
    spare = target.with_name(f".{target.name}.jet")
    try:
        os.rename(inside, spare)
        os.rmdir(target)
        os.rename(spare, target)
    except OSError:
        return target
    return target
