"""Buffers that go round between a worker thread and, where a checksum is wanted, a thread that hashes them.

Hashing costs more than reading, encrypting and sending together, so it runs beside the transfer. A ring without hashing
starts no thread. What is hashed, and what for, is unknown here.
"""

import hashlib
import mmap
import threading
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Self

#: Enough for the hashing thread to stay busy while the worker waits for the network; more gained nothing.
_HASHED_BUFFERS = 4
#: A stream of unknown length looks one chunk ahead to know which is the last.
_PLAIN_BUFFERS = 2
#: Bytes of a huge page of x86-64 and most of ARM; where it is larger, the memory is an ordinary one.
_HUGE_PAGE = 2 * 2**20


def buffers(count: int, size: int) -> list[memoryview]:
    """Make `count` buffers of `size` bytes that lie side by side, in one huge page where the system has such.

    Nothing is looked up for every 4 KiB then, in the tables of a virtual machine twice over: 5 % of a transfer.
    """
    stride = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, -(-count * stride // _HUGE_PAGE) * _HUGE_PAGE)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = memoryview(memory)
    return [whole[at * stride : at * stride + size] for at in range(count)]


class Ring:
    """A few buffers of `size` bytes: `take` one, fill it, `give` it back.

    A context manager: leaving it ends the hashing thread. `take` and `give` are for one thread.
    """

    def __init__(self, size: int, *, hashing: bool) -> None:
        # The one that was used last is taken first: the processor's cache still has it.
        self._at_hand = buffers(_HASHED_BUFFERS if hashing else _PLAIN_BUFFERS, size)
        self._hashed: SimpleQueue[memoryview] = SimpleQueue()
        self._filled: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
        self._sha256 = hashlib.sha256()
        self._thread = threading.Thread(target=self._hash, name="jet-hash", daemon=True) if hashing else None

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._join()

    def take(self) -> memoryview:
        """Return a buffer that nobody uses, waiting for the hashing thread if it must."""
        return self._at_hand.pop() if self._at_hand else self._hashed.get()

    def give(self, buffer: memoryview, length: int) -> None:
        """Give back a buffer that `take` returned; its first `length` bytes come next in the hash."""
        if self._thread is None:
            self._at_hand.append(buffer)
        else:
            self._filled.put((buffer, length))

    def digest(self) -> bytes | None:
        """Return SHA-256 of everything that was given, or None where nothing is hashed. Nothing may be given after."""
        if self._thread is None:
            return None
        self._join()
        return self._sha256.digest()

    def _join(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._filled.put(None)
            self._thread.join()

    def _hash(self) -> None:
        while (item := self._filled.get()) is not None:
            buffer, length = item
            self._sha256.update(buffer[:length])
            self._hashed.put(buffer)
