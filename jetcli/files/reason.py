"""The operating system's refusals in jet's words: lower case, no full stop, the same on every system."""

import errno
import os

_WORDS = {
    errno.ENOENT: "no such file",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "disk quota used up",
    errno.EFBIG: "file too large for this file system or limit",
    errno.EROFS: "read-only file system",
    errno.EIO: "input/output error",
    errno.ELOOP: "a symbolic link is in its place",
    errno.EEXIST: "it exists already",
    errno.ESTALE: "another file took its place",
}

#: What a peer hears of it.
TAKEN_THERE = "a file of that name is there already"
FULL_THERE = "no space left there"
_TOLD = {
    errno.EEXIST: TAKEN_THERE,
    errno.ENOSPC: FULL_THERE,
    errno.EDQUOT: FULL_THERE,
    errno.EFBIG: "it is too large for the disk there",
}


def reason(error: OSError) -> str:
    """Say why the system refused, as the last part of an error line."""
    if error.errno is None:
        return "unknown error"
    text = os.strerror(error.errno)
    return _WORDS.get(error.errno, text[:1].lower() + text[1:])


def told(error: OSError) -> str:
    """Say as much of it as a peer may hear, or nothing."""
    return _TOLD.get(error.errno or 0, "")
