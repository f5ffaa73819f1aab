"""Tables of what was measured, on the terminal and in BENCHMARKS.md."""

import importlib.metadata
import os
import platform
import re
import shutil
import ssl
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.backends.openssl.backend import backend

_PACKAGES = ("aioxmpp", "oldmemo", "cryptography")

BEGIN, END = "<!-- measured: {} -->", "<!-- end: {} -->"


@dataclass
class Table:
    """A table with a title; `notes` are sentences below it."""

    name: str
    title: str
    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return it as Markdown."""
        lines = [f"### {self.title}", "", _row(self.header), _row(["---", *["---:"] * (len(self.header) - 1)])]
        lines += [_row(row) for row in self.rows]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def spread(values: Iterable[float | None], digits: int = 2) -> str:
    """Return median, and minimum and maximum in brackets; a dash where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    return f"{statistics.median(known):.{digits}f} ({min(known):.{digits}f}–{max(known):.{digits}f})"


def circumstances(rounds: int) -> str:
    """Say when and on what was measured, and how busy that was."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    packages = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("aioxmpp", "oldmemo", "cryptography")
    )
    servers = ["prosody", *(["ejabberd"] if shutil.which("ejabberdctl") else [])]
    return (
        f"Measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC with {rounds} rounds. {_cpu()}, {os.cpu_count()} cores,"
        f" {_memory()}; Linux {platform.release()}. Load averages when this table was done: {load}.\n"
        f"Python {platform.python_version()} ({ssl.OPENSSL_VERSION}), {packages} ({backend.openssl_version_text()}),"
        f" {', '.join(f'{server} {_version_of(server)}' for server in servers)}."
    )


def _cpu() -> str:
    found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    flags = Path("/proc/cpuinfo").read_text()
    lacking = [what for what, flag in (("VAES", "vaes"), ("SHA", "sha_ni")) if not re.search(rf"\b{flag}\b", flags)]
    return (found[1] if found else platform.machine()) + (f" without {' and '.join(lacking)}" if lacking else "")


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _version_of(package: str) -> str:
    # Prosody has no option that only tells its version: it would start.
    if not shutil.which("dpkg-query"):
        return "of unknown version"
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False
    )
    return asked.stdout or "of unknown version"


def write(path: Path, name: str, text: str) -> None:
    """Put `text` between the marks of that name in a file; the file keeps everything else."""
    begin, end = BEGIN.format(name), END.format(name)
    whole = path.read_text()
    if begin not in whole:
        raise SystemExit(f"{path} has no place for {name}: {begin}")
    before, _, rest = whole.partition(begin)
    path.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")
