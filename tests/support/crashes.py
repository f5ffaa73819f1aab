"""What a power cut would leave at every moment of a run, from the log of its system calls.

The worst case is taken: everything written to the database has reached the disk, whether it was synced or not, and of
the part file only what a sync that had returned was begun after.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CALLS = "pwrite64,write,ftruncate,fsync,fdatasync,link,linkat,unlink,unlinkat"
#: More than SQLite writes at once; of what goes into the part only the lengths are needed.
_SHOWN = 8192
_LINE = re.compile(r"(\d+) +(?:<\.\.\. \w+ resumed>)?(.*)")
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?: .*)?$")
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")


def recorded(log: Path) -> tuple[str, ...]:
    """Return the words that run a command and write its system calls to `log`."""
    return "strace", "-f", "-qqq", "-y", "-xx", "-s", str(_SHOWN), "-e", f"trace={_CALLS}", "-o", str(log)


@dataclass(frozen=True)
class Call:
    """A system call that returned; `begun` and `ended` are lines of the log."""

    begun: int
    ended: int
    name: str
    arguments: str
    result: int

    @property
    def path(self) -> Path:
        """The file behind the first argument, where that is a descriptor."""
        found = _DESCRIPTOR.match(self.arguments)
        return Path(_plain(found[1]).decode() if found else "")

    def write(self) -> tuple[bytes, int, int]:
        """Return the bytes of a `pwrite64` as far as the log has them, how many it wrote, and where."""
        _file, text, _count, offset = self.arguments.split(", ")
        return _plain(text.removesuffix("...").strip('"')), self.result, int(offset)


@dataclass(frozen=True)
class Moment:
    """What a power cut would have left: how much of the part, how much of it the record claims, what it interrupted."""

    safe: int
    claimed: int
    call: str


def moments(log: Path, state: Path, scratch: Path) -> Iterator[Moment]:
    """Tell what would have been left after each change of the database or a name; `state` is how the database began.

    The part file has to be written in order, as a sink does.
    """
    disk = scratch / "disk"
    shutil.copytree(state, disk)
    written: list[tuple[int, int]] = []
    safe = claimed = 0
    for call in _calls(log):
        if call.path.suffix == ".part":
            if call.name == "pwrite64":
                _data, count, offset = call.write()
                written.append((call.ended, offset + count))
            elif call.name in {"fsync", "fdatasync"}:
                safe = max([safe, *(end for ended, end in written if ended < call.begun)])
        elif call.path.name.startswith("state.db") and call.name in {"pwrite64", "ftruncate"}:
            _apply(call, disk / call.path.name)
            claimed = _claim(disk, scratch / "after")
            yield Moment(safe, claimed, call.name)
        elif call.name in {"link", "linkat"}:
            yield Moment(safe, claimed, call.name)


def _calls(log: Path) -> Iterator[Call]:
    """Read the log; the calls come in the order in which they returned, those that failed left out."""
    open_calls: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(log.read_text(encoding="ascii").splitlines()):
        found = _LINE.match(line)
        if found is None:
            continue
        process, text = found.groups()
        begun = number
        if text.endswith("<unfinished ...>"):
            open_calls[process] = number, text.removesuffix("<unfinished ...>").rstrip()
            continue
        if "resumed>" in line:
            begun, start = open_calls.pop(process)
            text = start + text
        whole = _WHOLE.match(text)
        if whole and int(whole[3]) >= 0:
            yield Call(begun, number, whole[1], whole[2], int(whole[3]))


def _plain(escaped: str) -> bytes:
    r"""Return what the log shows as `\x66\x69`."""
    return bytes.fromhex(escaped.replace(r"\x", ""))


def _apply(call: Call, file: Path) -> None:
    file.touch()
    with file.open("r+b") as stream:
        if call.name == "ftruncate":
            stream.truncate(int(call.arguments.split(", ")[1]))
            return
        data, count, offset = call.write()
        assert len(data) == count, "the log has cut what SQLite wrote"
        stream.seek(offset)
        stream.write(data)


def _claim(disk: Path, after: Path) -> int:
    """Return how many bytes of the part the record takes for safe when the machine comes up again."""
    shutil.rmtree(after, ignore_errors=True)
    after.mkdir()
    for file in disk.glob("state.db*"):
        if not file.name.endswith("-shm"):
            shutil.copy(file, after)
    with sqlite3.connect(after / "state.db") as database:
        rows = database.execute("SELECT synced FROM transfers").fetchall()
    database.close()
    return max([0, *(synced for (synced,) in rows)])
