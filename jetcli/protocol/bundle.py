"""Many small files as the bytes of one stream: how each is written down, and read again without trusting it.

A bundle is one member after the other, with nothing before, between or behind them: a head, then the bytes of the file.
Its length is known before it is sent, so a member that must not be sent is withheld: its head says so, and zeros stand
in its place. What a name may be and where a file goes is judged by whoever takes the members. `docs/bundles.md` says
the same for other implementers.
"""

import struct
from dataclasses import dataclass, field

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.model import Batch
from jetcli.protocol.policy import MAX_NAME, shown

#: A file of more bytes than this is no member, and no bundle has more members or more bytes of files.
MAX_MEMBER_SIZE = 256 * 1024
MAX_MEMBERS = 1000
MAX_BUNDLE_SIZE = 64 * 2**20

_DIGEST_SIZE = 32
_WITHHELD, _HAS_DIGEST = 1, 2
#: Flags, size, modification time in seconds since the epoch, bytes of the name; the name and the digest follow.
_HEAD = struct.Struct(">BIqH")
_MAX_NAME_BYTES = 4 * MAX_NAME


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a bundle; `name` is the sender's claim. `sha256` is there where the sender was asked for checksums.

    A `withheld` member has changed while it was sent, or could not be read any more: its bytes mean nothing.
    """

    name: str
    size: int
    mtime: int
    sha256: bytes | None = field(default=None, repr=False)
    withheld: bool = False

    def head(self) -> bytes:
        """Return what stands before the bytes of the file."""
        name = self.name.encode()
        flags = (_WITHHELD if self.withheld else 0) | (_HAS_DIGEST if self.sha256 is not None else 0)
        return _HEAD.pack(flags, self.size, self.mtime, len(name)) + name + (self.sha256 or b"")


def member_length(name: str, size: int, *, digest: bool) -> int:
    """Return how many bytes of a bundle a file takes, its head included."""
    return _HEAD.size + len(name.encode()) + (_DIGEST_SIZE if digest else 0) + size


def judge_bundle(count: int, size: int | None, batch: Batch | None) -> None:
    """Raise RemoteProtocolError where an offer of `count` files in `size` bytes cannot be a bundle of its batch."""
    if batch is None or not 1 <= count <= MAX_MEMBERS or batch.index + count - 1 > batch.of:
        raise _wrong("a bundle that does not fit the files of its command")
    if size is None or size > MAX_BUNDLE_SIZE + count * (_HEAD.size + _MAX_NAME_BYTES + _DIGEST_SIZE):
        raise _wrong("a bundle that is too large")


class MemberReader:
    """Takes the bytes of a bundle in any pieces and gives back its members, whole; it was announced with `count`."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._held = bytearray()

    def feed(self, data: memoryview) -> list[tuple[Member, bytes]]:
        """Return the members that `data` completes, with their bytes.

        Raises RemoteProtocolError for what is no member, or one more than was announced.
        """
        self._held += data
        members: list[tuple[Member, bytes]] = []
        at = 0
        while (found := self._member(at)) is not None:
            member, begins, at = found
            members.append((member, bytes(memoryview(self._held)[begins:at])))
            self._missing -= 1
        del self._held[:at]
        return members

    def finish(self) -> None:
        """Raise RemoteProtocolError where the stream has ended inside a member, or before the last."""
        if self._missing or self._held:
            raise _wrong(f"a bundle that lacks {self._missing} of its files")

    def _member(self, at: int) -> tuple[Member, int, int] | None:
        """Return the member whose head begins at `at`, where its bytes begin and where they end; None if in part."""
        if at == len(self._held):
            return None
        if not self._missing:
            raise _wrong("more files than it announced")
        if len(self._held) - at < _HEAD.size:
            return None
        flags, size, mtime, name_length = _HEAD.unpack_from(self._held, at)
        if flags & ~(_WITHHELD | _HAS_DIGEST) or size > MAX_MEMBER_SIZE or not 0 < name_length <= _MAX_NAME_BYTES:
            raise _wrong("a bundle with something that is no file")
        named = at + _HEAD.size
        begins = named + name_length + (_DIGEST_SIZE if flags & _HAS_DIGEST else 0)
        if len(self._held) < begins + size:
            return None
        name = _name(bytes(self._held[named : named + name_length]))
        digest = bytes(self._held[named + name_length : begins]) or None
        return Member(name, size, mtime, digest, bool(flags & _WITHHELD)), begins, begins + size


def _name(data: bytes) -> str:
    try:
        name = data.decode()
    except UnicodeDecodeError:
        raise _wrong(f"a file name that is no text: '{shown(data.decode(errors='replace'))}'") from None
    if len(name) > MAX_NAME:
        raise _wrong(f"a file name of {len(name)} characters")
    return name


def _wrong(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the peer sent {what}", condition="media-error")
