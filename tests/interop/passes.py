"""Runs the whole matrix again and again, and writes down how often it passed in a row.

python tests/interop/passes.py 20 docs/interop-runs.md

Stops at the first pass with a cell that fails; no case gets a second try. The page is written after every pass, so
that it says what has been seen, also where it was stopped. What a pass said is in build/interop.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from jetcli import __version__

OUT = Path("build/interop")
#: A pass that takes longer than this hangs.
LIMIT_S = 900
COLUMNS = """| pass | began (UTC) | seconds | cells that work | cells that fail | slowest transfer, s | load | result |
|---|---|---|---|---|---|---|---|"""
PACKAGES = {"Dino": "dino-im", "Libervia": "libervia-backend", "Prosody": "prosody"}
COMMAND = ("-m", "pytest", "-q", "-m", "interop", "--numprocesses=4", "--dist=loadfile", "tests/interop")


@dataclass(frozen=True)
class Pass:
    """One run of the whole matrix."""

    began: str
    seconds: float
    works: int
    failed: int
    slowest: float
    load: float
    green: bool

    @property
    def row(self) -> str:
        result = "passed" if self.green else "FAILED"
        numbers = f"{self.seconds:.0f} | {self.works} | {self.failed} | {self.slowest:.1f} | {self.load:.1f}"
        return f"{self.began} | {numbers} | {result} |"


def version_of(package: str) -> str:
    """Return the version of an installed Debian package."""
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout or "unknown"


def versions() -> str:
    """Name jet and the clients with their versions."""
    return ", ".join([f"jet {__version__}", *(f"{name} {version_of(package)}" for name, package in PACKAGES.items())])


def checked_out() -> str:
    """Name what is checked out, and say where files differ from it."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def one_pass(number: int) -> Pass:
    """Run the matrix once."""
    report, log = OUT / f"pass-{number}.json", OUT / f"pass-{number}.log"
    report.unlink(missing_ok=True)
    began, start = time.strftime("%Y-%m-%d %H:%M", time.gmtime()), time.monotonic()
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                [sys.executable, *COMMAND],
                env=os.environ | {"JET_INTEROP_REPORT": str(report.absolute()), "JET_INTEROP_ONCE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=LIMIT_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    seconds = time.monotonic() - start
    cells = json.loads(report.read_text())["cells"] if report.exists() else []
    ours = [cell for cell in cells if "jet" in {cell["from"], cell["to"]}]
    works = sum(cell["result"] == "works" for cell in ours)
    slowest = max((cell["seconds"] for cell in ours if cell["seconds"] is not None), default=0.0)
    return Pass(
        began, seconds, works, len(ours) - works, slowest, os.getloadavg()[1], code == 0 and 0 < works == len(ours)
    )


def earlier(target: Path) -> str:
    """Return the rows that the page has of earlier series, the last one first."""
    told = target.read_text() if target.exists() else ""
    return "".join(f"{line}\n" for line in told.splitlines() if line.startswith("| ") and line[2].isdigit())


def page(passes: list[Pass], wanted: int, commit: str, before: str) -> str:
    """Write down what has been seen, and the series `before`."""
    green = sum(each.green for each in passes)
    ended = "" if green == len(passes) else " The last one failed, and the count begins anew."
    lines = [
        "# The matrix with other clients, again and again",
        "",
        "Written by `tests/interop/passes.py` (`make soak`); nothing here is typed. Every pass starts all anew, runs",
        "the whole matrix of [INTEROP.md](../INTEROP.md), tries nothing twice, and passes when each cell of jet works.",
        "",
        f"{green} passes in a row of {wanted} wanted.{ended}",
        "",
        f"Commit {commit}; {versions()}; {os.cpu_count()} cores.",
        f"The load is that of the machine at the end of a pass, over five minutes; passes ran at nice {os.nice(0)}.",
        "",
        COLUMNS,
        *(f"| {number} | {each.row}" for number, each in enumerate(passes, 1)),
    ]
    told = "\n".join(lines) + "\n"
    return (
        told + f"\n## Earlier\n\nThe series before this one, the last one first.\n\n{COLUMNS}\n{before}"
        if before
        else told
    )


def main(wanted: int, target: Path) -> int:
    """Run `wanted` passes in a row; return the exit code."""
    OUT.mkdir(parents=True, exist_ok=True)
    passes: list[Pass] = []
    commit, before = checked_out(), earlier(target)  # before the page itself differs from what is checked out
    while len(passes) < wanted:
        passes.append(one_pass(len(passes) + 1))
        target.write_text(page(passes, wanted, commit, before))
        print(f"pass {len(passes)}: {passes[-1].row}", flush=True)
        if not passes[-1].green:
            print(f"see {OUT}/pass-{len(passes)}.log", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
