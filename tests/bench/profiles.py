"""Where the time of a transfer goes: both jets under perf, once; prints what docs/profiles.md quotes.

    python tests/bench/profiles.py [--size MIB] [--checksum]

Needs `perf` (linux-perf of Debian) and the right to use it. The counter is the CPU clock, which every machine has.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from world import JET, make_file, world

PERF = ("perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "-o")
SYMBOLS = 16


def recorded(memory: Path, size: int, *options: str) -> dict[str, Path]:
    """Send one file with both sides recorded; return the recordings."""
    source = make_file(memory / "source", size)
    files = {side: memory / f"perf.{side}" for side in ("sender", "receiver")}
    with world(memory) as here:
        receiver = here.receiver(program=(*PERF, str(files["receiver"]), *JET))
        sender = here.sender(*options, str(source), program=(*PERF, str(files["sender"]), *JET))
        sender.end()
        receiver.end()
    return files


def top(recording: Path) -> list[str]:
    """Return the symbols that took most, as perf tells them: share of the process's CPU time, where, what."""
    command = ("perf", "report", "-i", str(recording), "--stdio", "--sort", "dso,symbol", "-g", "none")
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [" ".join(line.split()) for line in told.splitlines() if line.strip() and not line.startswith("#")]
    return [line.removesuffix(" - -") for line in lines[:SYMBOLS]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Show where the CPU time of a transfer goes.")
    parser.add_argument("--size", type=int, default=4096, metavar="MIB")
    parser.add_argument("--checksum", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        options = ("--path", "direct", *(("--checksum",) if args.checksum else ()))
        for side, recording in recorded(Path(directory), args.size << 20, *options).items():
            print(f"{side}, {args.size} MiB{', --checksum' if args.checksum else ''}", *top(recording), "", sep="\n")


if __name__ == "__main__":
    sys.exit(main())
