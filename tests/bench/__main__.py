"""Measure jet with real processes and a real server: `python tests/bench [--rounds N] [--write] [TABLE...]`.

Every round runs each contestant once, in turn, so that a busy machine disturbs all alike; ratios are made within a
round and their median is told. Files lie in memory (/dev/shm), all traffic is on loopback. `--write` puts the tables
into BENCHMARKS.md.
"""

import argparse
import compileall
import tempfile
from pathlib import Path

import comparison
import many
import numbers_of_jet
import report
import resuming

TABLES = numbers_of_jet.ALL | comparison.ALL | many.ALL | resuming.ALL
PAGE = Path(__file__).parents[2] / "BENCHMARKS.md"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure jet.")
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the tables into BENCHMARKS.md")
    parser.add_argument("--directory", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    args = parser.parse_args()
    # As every installation does. Without it each start of jet would compile what has been edited since.
    compileall.compile_dir(PAGE.parent / "jetcli", quiet=1)
    for name in args.tables or TABLES:
        with tempfile.TemporaryDirectory(dir=args.directory, prefix="jet-bench-") as directory:
            table = TABLES[name](Path(directory), args.rounds)
        text = f"{table.markdown()}\n\n{report.circumstances(args.rounds)}"
        print(text, end="\n\n", flush=True)
        if args.write:
            report.write(PAGE, name, text)


if __name__ == "__main__":
    main()
