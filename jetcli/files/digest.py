"""The digest of the beginning of a file, for the proof that both sides hold the same."""

import hashlib
import threading
from typing import Protocol

from jetcli.errors import InterruptedTransferError, LocalFileError

_PIECE = 2**20


class Readable(Protocol):
    """A file that is read at offsets: a source or a sink."""

    def read_into(self, view: memoryview, offset: int, /) -> int:
        """Fill `view` from `offset`; return how many bytes, fewer only at the end of the file."""


def prefix_sha256(file: Readable, length: int, stop: threading.Event) -> bytes:
    """Return the SHA-256 of the first `length` bytes, reading them once. Blocks.

    Raises LocalFileError where the file is shorter or cannot be read, InterruptedTransferError when `stop` is set.
    """
    digest, buffer, position = hashlib.sha256(), memoryview(bytearray(_PIECE)), 0
    while position < length:
        if stop.is_set():
            raise InterruptedTransferError("stopped while comparing what both sides hold")
        piece = buffer[: min(_PIECE, length - position)]
        if file.read_into(piece, position) < len(piece):
            raise LocalFileError(f"a file ended after {position} of the {length} bytes that are to be compared")
        digest.update(piece)
        position += len(piece)
    return digest.digest()
