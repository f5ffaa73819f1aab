"""Part files in the making, and a record of what the system was asked to do with them."""

import os
import stat
from pathlib import Path

from jetcli.files import sink as sink_module
from jetcli.files.sink import Sink

CONTENT = b"the real thing"


PART = ".jet-k3v9.part"


def created(inbox: Path, name: str = "report.pdf", **options) -> Sink:
    return Sink.create(inbox, name, "k3v9", **{"size": len(CONTENT), **options})


def filled(inbox: Path, name: str = "report.pdf", **options) -> Sink:
    sink = created(inbox, name, **options)
    sink.write(memoryview(CONTENT))
    return sink


def reopened(inbox: Path, inode: int | None, length: int = len(CONTENT), **options) -> Sink:
    return Sink.reopen(inbox, "report.pdf", "k3v9", **{"inode": inode, "length": length, "size": None, **options})


def listing(inbox: Path) -> dict[str, bytes | None]:
    return {entry.name: entry.read_bytes() if entry.is_file() else None for entry in inbox.iterdir()}


def failing(number: int):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def recorded(monkeypatch, inbox: Path) -> list[str]:
    """Record the calls that publishing consists of, in their order."""
    calls: list[str] = []

    def spy(module, name: str, verb: str) -> None:
        real = getattr(module, name)

        def call(first, *args, **options):
            target = verb
            if isinstance(first, int):
                target += " directory" if stat.S_ISDIR(os.fstat(first).st_mode) else " part"
            calls.append(target)
            return real(first, *args, **options)

        monkeypatch.setattr(module, name, call)

    spy(sink_module, "_sync_data", "fdatasync")
    for name in ("fsync", "fchmod", "link", "unlink", "rename", "replace"):
        spy(os, name, name)
    return calls
