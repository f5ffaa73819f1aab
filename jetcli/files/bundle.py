"""Many small files of one command: read as the bytes of one stream, and saved each under its own name.

`BundleSource` reads a member whole, looks whether it has changed, and only then lets it go out. `SmallFiles` saves
members that are whole and verified in one directory, in the publish order of `jetcli.files.sink`: a part of its own,
fsync, mode, a final name without replacing; `settle` has the directory written down, and only what is behind it counts
as saved. How a bundle looks is `jetcli.protocol.bundle`'s business.
"""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from jetcli.errors import LocalFileError
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
from jetcli.files.source import Source, SourceIdentity
from jetcli.protocol.bundle import MAX_MEMBER_SIZE, Member, member_length
from jetcli.protocol.policy import believable_mtime, shown

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PART_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class SmallSource(Struct, frozen=True):
    """A file that may be a member of a bundle, as it was when it was looked at; closed until its turn comes."""

    path: Path
    name: str
    identity: SourceIdentity

    @classmethod
    def of(cls, path: Path) -> "SmallSource | None":
        """Return what `path` names if that is a small regular file that can be read, else None."""
        try:
            if not os.path.isfile(path):
                return None
            with Source.open(path) as source:
                return cls(path, source.name, source.identity) if source.size <= MAX_MEMBER_SIZE else None
        except LocalFileError:
            return None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.identity.size

    def read(self) -> bytes:
        """Return the whole file; raise LocalFileError where it is not any more what it was."""
        with Source.open(self.path) as source:
            data = bytearray(self.size)
            count = source.read_into(memoryview(data), 0)
            change = "it was modified" if source.identity != self.identity else source.changed()
            if change is None and count < self.size:
                change = "it ended before its size"
            if change is not None:
                raise LocalFileError(f"'{shown(self.name)}' changed while it was sent: {change}")
        return bytes(data)


@dataclass(slots=True)
class BundleSource:
    """The members of a bundle as one stream, read once from its beginning; see `jetcli.files.source.Origin`.

    With `digests` each member carries its SHA-256. `sent` are the members as they went out, `failures` says of some of
    them, by their place in the bundle, why they were withheld.
    """

    members: Sequence[SmallSource] = ()
    digests: bool = False
    name: str = ""
    mtime: float | None = None
    resumable: bool = False
    waiting: bool = False
    sent: list[Member] = field(default_factory=list)
    failures: dict[int, LocalFileError] = field(default_factory=dict)
    size: int = field(init=False)
    _ahead: bytearray = field(default_factory=bytearray)
    _pieces: Iterator[bytes] | None = None

    def __post_init__(self) -> None:
        self.size = sum(member_length(one.name, one.size, digest=self.digests) for one in self.members)

    def read_into(self, view: memoryview, offset: int) -> int:
        """Fill `view` with what comes next, which `offset` only repeats; return how many bytes there were."""
        del offset
        if self._pieces is None:
            self._pieces = self._read()
        while len(self._ahead) < len(view) and (piece := next(self._pieces, b"")):
            self._ahead += piece
        count = min(len(view), len(self._ahead))
        view[:count] = self._ahead[:count]
        del self._ahead[:count]
        return count

    def changed(self) -> str | None:
        """Return None: each member is looked at by itself."""
        return None

    def stop(self) -> None:
        """Do nothing: files never wait."""

    def _read(self) -> Iterator[bytes]:
        for place, source in enumerate(self.members):
            try:
                data = source.read()
            except LocalFileError as error:
                self.failures[place] = error
                data = bytes(source.size)
            digest = sha256(data).digest() if self.digests else None
            withheld = place in self.failures
            member = Member(source.name, source.size, source.identity.mtime_ns // 10**9, digest, withheld)
            self.sent.append(member)
            yield member.head() + data


class SmallFiles:
    """Saves whole files in `directory`; `transfer_id` goes into the names of their parts."""

    def __init__(self, directory: Path, transfer_id: str) -> None:
        self._path = Path(os.path.abspath(directory))
        self._id = transfer_id
        self._mode = published_mode()
        try:
            self._directory = os.open(directory, _DIRECTORY_FLAGS)
        except OSError as error:
            raise LocalFileError(f"cannot write to '{shown(str(directory))}': {reason(error)}") from error

    def is_taken(self, name: str) -> bool:
        """Say whether there is something of that name."""
        return is_taken(name, self._directory)

    def save(self, place: int, name: str, data: bytes, *, mtime: float | None, on_exist: OnExist) -> Path:
        """Save `data` as `name`, or under a number as `on_exist` says, and return the path; `settle` makes it last.

        `name` is a single component. Raises LocalFileError where nothing was saved.
        """
        if on_exist in {"fail", "skip"} and self.is_taken(name):
            raise LocalFileError(
                f"'{shown(name)}' exists already", told=TAKEN_THERE, hint="--on-exist rename keeps both"
            )
        part = f".jet-{self._id}-{place}.part"
        try:
            descriptor = os.open(part, _PART_FLAGS, 0o600, dir_fd=self._directory)
        except OSError as error:
            raise self._unwritable(name, error) from error
        try:
            self._write(descriptor, data, mtime)
            final = give_final_name(part, name, descriptor, self._directory, on_exist=on_exist)
        except OSError as error:
            with suppress(OSError):
                if is_same_file(part, descriptor, self._directory):
                    os.unlink(part, dir_fd=self._directory)
            raise self._unwritable(name, error) from error
        finally:
            os.close(descriptor)
        return self._path / final

    def settle(self) -> None:
        """Have the names that were given written to the disk; raise LocalFileError where it refuses."""
        try:
            sync_directory(self._directory)
        except OSError as error:
            raise LocalFileError(f"what was saved may not survive a crash: {reason(error)}") from error

    def close(self) -> None:
        """Close the directory; a second time does nothing."""
        directory, self._directory = self._directory, -1
        if directory >= 0:
            os.close(directory)

    def _write(self, descriptor: int, data: bytes, mtime: float | None) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        believed = believable_mtime(mtime, time.time())
        if believed is not None:
            # A courtesy, which some file systems do not allow.
            with suppress(OSError):
                os.utime(descriptor, (believed, believed))
        os.fsync(descriptor)
        set_mode(descriptor, self._mode)

    def _unwritable(self, name: str, error: OSError) -> LocalFileError:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return LocalFileError(
            f"cannot save '{shown(name)}': {reason(error)}",
            told=told(error),
            hint=f"free some space in '{shown(str(self._path))}'" if full else "",
        )
