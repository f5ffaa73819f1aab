"""Tar archives of anybody, read forwards, one member at a time, in little memory whatever they say.

tarfile judges the single header block. What may follow one, longer names, PAX records and the maps of sparse files, is
read here: tarfile reads it whole however long it is, keeps all of it, and calls itself for each header before a member.
What may be made of a member is not known here, but in `jetcli.files.extraction`.
"""

import bz2
import gzip
import lzma
import sys
import tarfile
from collections.abc import Iterator
from typing import IO, Protocol

from jetcli.files.extraction import ArchiveError, Member

#: Room for the headers of one member: libarchive's limit for a name, and more than the largest extended attributes.
_MOST_HEADERS = 1024 * 1024

#: What `xz -9` wants is 65 MiB; a stream may want any amount.
_MOST_FOR_XZ = 128 * 1024 * 1024

#: No file is larger (off_t).
_LARGEST = 2**63 - 1

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 256 * 1024

# What of PAX is used. The rest, as owners, comments and extended attributes, is passed over.
_FOR_ALL = frozenset({"path", "linkpath", "size", "mtime"})
_SPARSE = frozenset({"GNU.sparse." + name for name in ("name", "major", "minor", "size", "realsize", "map")})
# The oldest of three formats has these two by turns, once for each extent.
_EXTENTS = frozenset({"GNU.sparse.offset", "GNU.sparse.numbytes"})


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer only at the end."""


class _Xz:
    """Streams of xz or lzma, one after the other, in limited memory: lzma.open has no limit."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decompressor = self._new()
        self._held = b""  # the beginning of the next stream

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_MOST_FOR_XZ)

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer only at the end."""
        pieces = []
        while size and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, most: int) -> bytes:
        while not self._decompressor.eof or self._another():
            data = b""
            if self._decompressor.needs_input:
                data, self._held = self._held or self._file.read(_PIECE), b""
                if not data:
                    raise EOFError
            if piece := self._decompress(data, most):
                return piece
        return b""

    def _another(self) -> bool:
        """Begin with the next stream; between them there may be zeros."""
        rest = self._decompressor.unused_data.lstrip(b"\0")
        while not rest:
            if not (data := self._file.read(_PIECE)):
                return False
            rest = data.lstrip(b"\0")
        self._decompressor = self._new()
        self._held = rest
        return True

    def _decompress(self, data: bytes, most: int) -> bytes:
        try:
            return self._decompressor.decompress(data, most)
        except lzma.LZMAError as error:
            if "limit" not in str(error):
                raise
            raise ArchiveError(f"it takes more than {_MOST_FOR_XZ // 2**20} MiB of memory to decompress") from error


class TarStream:
    """The members of the archive in `file`, which may be compressed, whatever its name says.

    `next` returns them in order, and `content` gives that of the last one. Both raise ArchiveError for headers that
    are too large, and ValueError, EOFError, tarfile.TarError or what the decompressors raise for what is damaged.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = _decompressed(file)
        self._left = 0  # bytes up to the next header
        self._room = 0
        self._for_all: dict[str, str] = {}
        self._empty = True

    def next(self) -> Member | None:
        """Return the next member, None after the last."""
        while self._left:
            self._data(min(self._left, _PIECE))
        self._room = _MOST_HEADERS
        own: dict[str, str] = {}
        while True:
            block = self._file.read(_BLOCK)
            if not block.strip(b"\0"):
                if own or (self._empty and not block):
                    raise EOFError  # within a member, or nothing at all
                return None
            info = tarfile.TarInfo.frombuf(block, sys.getfilesystemencoding(), "surrogateescape")
            self._take_room(_BLOCK)
            match info.type:
                case tarfile.GNUTYPE_LONGNAME:
                    own["path"] = _text(self._header(info.size).partition(b"\0")[0])
                case tarfile.GNUTYPE_LONGLINK:
                    own["linkpath"] = _text(self._header(info.size).partition(b"\0")[0])
                case tarfile.XHDTYPE | tarfile.SOLARIS_XHDTYPE:
                    own |= _used(self._header(info.size))
                case tarfile.XGLTYPE:
                    used = _used(self._header(info.size))
                    self._for_all |= {key: value for key, value in used.items() if key in _FOR_ALL}
                case _:
                    self._empty = False
                    return self._member(info, block, self._for_all | own)

    def content(self, member: Member) -> Iterator[tuple[int, bytes]]:
        """Return the pieces of the file that `next` returned last, each with its place; between them are zeros."""
        for start, length in member.extents:
            place, end = start, start + length
            while place < end:
                piece = self._data(min(end - place, _PIECE))
                yield place, piece
                place += len(piece)

    def _member(self, info: tarfile.TarInfo, block: bytes, records: dict[str, str]) -> Member:
        stored = int(records.get("size") or info.size) if info.isreg() else 0
        if not 0 <= stored <= _LARGEST:
            raise ValueError("size")
        self._left = stored + -stored % _BLOCK
        size, extents = self._extents(info, block, records, stored)
        _check(extents, size, self._left)
        return Member(
            name=records.get("GNU.sparse.name") or records.get("path") or info.name,
            type=info.type,
            linkname=records.get("linkpath") or info.linkname,
            size=size,
            stored=stored,
            mtime=float(records.get("mtime") or info.mtime),
            extents=extents,
        )

    def _extents(
        self, info: tarfile.TarInfo, block: bytes, records: dict[str, str], stored: int
    ) -> tuple[int, list[tuple[int, int]]]:
        """Return the size of a file, and of which parts its bytes are in the archive."""
        if info.type == tarfile.GNUTYPE_SPARSE:
            return _number(block[483:495]), self._old_map(block)
        if not info.isreg():
            return 0, []
        if "GNU.sparse.map" in records:
            return int(records.get("GNU.sparse.size", "")), _pairs(
                [int(n) for n in records["GNU.sparse.map"].split(",")]
            )
        if records.get("GNU.sparse.major") == "1":
            return int(records.get("GNU.sparse.realsize", "")), self._map_before_content()
        return stored, [(0, stored)]

    def _old_map(self, block: bytes) -> list[tuple[int, int]]:
        """Read the map of GNU's own format: four extents in the header, and 21 in each block that follows."""
        fields, more = block[386:482], block[482]
        numbers = _numbers(fields)
        while more:
            block = self._header(_BLOCK)
            numbers += _numbers(block[:504])
            more = block[504]
        return _pairs(numbers)

    def _map_before_content(self) -> list[tuple[int, int]]:
        """Read the map of PAX: lines of decimals, of which the first is the number of extents, in whole blocks."""
        numbers: list[int] = []
        rest = b""
        while not numbers or len(numbers) <= 2 * numbers[0]:
            self._take_room(_BLOCK)
            *lines, rest = (rest + self._data(_BLOCK)).split(b"\n")
            numbers += map(int, lines)
            if len(rest) > _BLOCK:
                raise ValueError("map")
        return _pairs(numbers[1 : 1 + 2 * numbers[0]])

    def _header(self, size: int) -> bytes:
        """Read what belongs to a header, in whole blocks."""
        if size < 0:
            raise ValueError("size")
        self._take_room(size)
        return self._exactly(size + -size % _BLOCK)[:size]

    def _take_room(self, count: int) -> None:
        self._room -= count
        if self._room < 0:
            raise ArchiveError("it has a header that is larger than 1 MiB")

    def _data(self, count: int) -> bytes:
        if count > self._left:
            raise ValueError("size")
        self._left -= count
        return self._exactly(count)

    def _exactly(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError
        return data


def _decompressed(file: IO[bytes]) -> _Readable:
    start = file.read(_BLOCK)
    file.seek(0)
    try:
        tarfile.TarInfo.frombuf(start, "ascii", "surrogateescape")
    except tarfile.TarError:
        pass
    else:
        return file  # the name of its first member may begin like anything
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    if start.startswith(b"BZh"):
        return bz2.open(file)
    if start.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _Xz(file)
    return file


def _used(body: bytes) -> dict[str, str]:
    """Return the PAX records that matter, the extents of the oldest sparse format as the map of the next one."""
    used, extents = {}, []
    for key, value in _records(body):
        if key in _EXTENTS:
            extents.append(_text(value))
        elif key in _FOR_ALL or key in _SPARSE:
            used[key] = _text(value)
    return used | {"GNU.sparse.map": ",".join(extents)} if extents else used


def _records(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Split PAX records, `LENGTH KEY=VALUE` and a line feed, where LENGTH counts all of it."""
    start = 0
    while start < len(body) and body[start]:
        length, space, _ = body[start : start + 20].partition(b" ")
        end = start + int(length)
        key, equals, value = body[start + len(length) + 1 : max(end, 1) - 1].partition(b"=")
        if not (space and equals) or body[end - 1 : end] != b"\n":
            raise ValueError("record")
        yield key.decode(errors="replace"), value
        start = end


def _text(data: bytes) -> str:
    if b"\0" in data:
        raise ValueError("name")
    return data.decode(errors="surrogateescape")


def _number(field: bytes) -> int:
    """Read a number of a header: octal, or binary where the first bit is set."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _numbers(fields: bytes) -> list[int]:
    return [_number(fields[place : place + 12]) for place in range(0, len(fields), 12)]


def _pairs(numbers: list[int]) -> list[tuple[int, int]]:
    return [(start, length) for start, length in zip(numbers[::2], numbers[1::2], strict=True) if length]


def _check(extents: list[tuple[int, int]], size: int, stored: int) -> None:
    """Check that extents follow each other inside the file, and are no more than is in the archive."""
    end = total = 0
    for start, length in extents:
        if start < end or length < 0:
            raise ValueError("extents")
        end = start + length
        total += length
    if end > size or total > stored or not 0 <= size <= _LARGEST:
        raise ValueError("extents")
