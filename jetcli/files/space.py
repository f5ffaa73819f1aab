"""How much space there is for a file, a reserve left aside."""

import os
from pathlib import Path

from jetcli.errors import LocalFileError
from jetcli.files.reason import FULL_THERE, reason
from jetcli.protocol.policy import shown, shown_size

#: Space that a transfer leaves free, at most; on a small disk a hundredth of it.
RESERVE = 64 * 2**20


def free_bytes(directory: Path, descriptor: int | None = None) -> int:
    """Return how many bytes `directory`, open or not, takes beside a reserve; raise LocalFileError if unknown."""
    try:
        disk = os.statvfs(directory if descriptor is None else descriptor)
    except OSError as error:
        raise LocalFileError(f"cannot write to '{shown(str(directory))}': {reason(error)}") from error
    reserve = min(RESERVE, disk.f_blocks * disk.f_frsize // 100)
    return max(disk.f_bavail * disk.f_frsize - reserve, 0)


def check_space(directory: Path, size: int) -> None:
    """Raise LocalFileError if `size` more bytes do not fit into `directory`."""
    free = free_bytes(directory)
    if size > free:
        raise LocalFileError(
            f"not enough space in '{shown(str(directory))}': {shown_size(size)} needed, {shown_size(free)} free",
            told=FULL_THERE,
        )
