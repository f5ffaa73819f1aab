"""Looks for pieces of a file in what others have seen of its transfer.

Owns the choice of the pieces and the search; pure apart from reading the files it is given. A search for thousands of
needles in millions of bytes takes less than a second: every needle is at least 15 bytes long, so wherever it lies it
covers a whole 8-byte word at a multiple of 8, and only words that begin such a needle are looked at twice.
"""

import base64
import html
import mmap
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from msgspec import Struct

WINDOW = 24
WINDOWS = 1000
_WORD = 8
#: Base64 text of a window starts at a multiple of three bytes of the stream, which may be any byte of the window.
_ALIGNMENTS = 3


class Windows(Struct, frozen=True):
    """Pieces of a file, each `WINDOW` bytes; a file shorter than that has none."""

    pieces: tuple[bytes, ...]

    @classmethod
    def of(cls, file: Path, chance: random.Random) -> Self:
        """Choose `WINDOWS` pieces of `file` at places that `chance` picks."""
        last = file.stat().st_size - WINDOW
        if last < 0:
            return cls(())
        with file.open("rb") as opened:
            return cls(tuple(os.pread(opened.fileno(), WINDOW, chance.randint(0, last)) for _ in range(WINDOWS)))

    def found_in(self, seen: Path) -> int:
        """Count the pieces that are in the file `seen`, plain or in base64 at any of its three alignments."""
        if seen.stat().st_size < _WORD:
            return 0
        with seen.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return self._count(content)

    def found_in_xml(self, log: Path) -> int:
        """Count as `found_in` does, in the XML of `log` and in the text that it stands for."""
        text = html.unescape(log.read_text(encoding="utf-8", errors="surrogateescape"))
        return self.found_in(log) + self._count(text.encode("utf-8", errors="surrogateescape"))

    def _count(self, content: bytes | mmap.mmap) -> int:
        suspects = _suspects(content, (needle for piece in self.pieces for needle in needles(piece)))
        return sum(any(needle in suspects for needle in needles(piece)) for piece in self.pieces)


def needles(piece: bytes) -> Iterator[bytes]:
    """Return what `piece` looks like when it goes out as it is, and in base64."""
    yield piece
    for start in range(_ALIGNMENTS):
        whole = (len(piece) - start) // 3 * 3
        yield base64.b64encode(piece[start : start + whole])


def _suspects(content: bytes | mmap.mmap, wanted: Iterable[bytes]) -> set[bytes]:
    """Return those of `wanted` that are in `content`."""
    by_word: dict[int, set[bytes]] = {}
    for needle in wanted:
        for start in range(_WORD):
            word = memoryview(needle)[start : start + _WORD].cast("Q")[0]
            by_word.setdefault(word, set()).add(needle)
    with memoryview(content) as whole, whole[: len(content) // _WORD * _WORD] as even, even.cast("Q") as words:
        met = set(by_word).intersection(words)
    return {needle for word in met for needle in by_word[word] if content.find(needle) >= 0}
