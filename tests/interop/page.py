"""Writes INTEROP.md from what a run of the matrix has left behind.

python tests/interop/page.py build/interop.json INTEROP.md
"""

import json
import sys
from pathlib import Path

from passes import versions

from jetcli.protocol.quirks import DEVIATIONS, KNOWN

HEAD = """# Which clients jet works with

Written by `make interop` from a run of the real programs; nothing here is typed. A cell works when the bytes at both
ends are the same, or when jet refused what it has to refuse and saved nothing. How each client differs from the
specifications is in `jetcli/protocol/quirks.py`, and nowhere else. Conversations cannot run here: a script plays it,
2.12 and 2.13, both ways over every path (`tests/e2e/phone`, in `make matrix`). How often the matrix below passed in a
row is in [docs/interop-runs.md](docs/interop-runs.md).

"""
REFUSED = """
## What jet refuses, and why

| what | exit code | why |
|---|---|---|
| an offer without `<security/>`, or with one that cannot be used | 8 | XEP-0391 section 7 |
| an offer that was not encrypted for this device | 8 | the sender has no session with it; `jet hello` helps |
| to send in-band to Dino | 7 | Dino acknowledges every block and then drops the file |
| to send to aTalk, and what aTalk offers | 7, 8 | its encrypted transfers do not follow XEP-0396 |
| to send to Gajim, Psi and others without JET | 7 | they take unencrypted files only |
| bytes behind the last one, a wrong tag, a wrong checksum | 12, 15 | nothing of it is saved |
"""
#: In the order of the page; within one, cells stand as they were run.
PAIRS = (
    ("jet", "Dino"),
    ("Dino", "jet"),
    ("jet", "Libervia"),
    ("Libervia", "jet"),
    ("Libervia", "Dino"),
    ("Libervia", "Libervia"),
)


def _place(cell: dict) -> int:
    pair = cell["from"], cell["to"]
    return PAIRS.index(pair) if pair in PAIRS else len(PAIRS)


def page(run: dict) -> str:
    """Return the page for a run: `date`, and `cells` with from, to, case, result, seconds and note."""
    lines = [f"Run of {run['date']}: {versions()}.", ""]
    lines += ["| from | to | case | result | seconds | remark |", "|---|---|---|---|---|---|"]
    for cell in sorted(run["cells"], key=_place):
        seconds = "" if cell.get("seconds") is None else f"{cell['seconds']:.1f}"
        result = cell["result"] if "jet" in {cell["from"], cell["to"]} else "recorded"
        row = (cell["from"], cell["to"], cell["case"], result, seconds, cell["note"])
        lines.append("| " + " | ".join(str(field).replace("|", "/") for field in row) + " |")
    ours = [cell for cell in run["cells"] if "jet" in {cell["from"], cell["to"]}]
    works = sum(cell["result"] == "works" for cell in ours)
    lines += ["", f"{works} of {len(ours)} cells of jet work; what the others do among themselves is recorded."]
    told = [
        "",
        "## How a client is recognised",
        "",
        "| client | name begins with | caps node | seen |",
        "|---|---|---|---|",
    ]
    told += [f"| {each.client} | {each.client} | {each.node} | {each.seen} |" for each in KNOWN]
    known = ["", "## What the others do, and what jet does", "", "| client | what it does | jet |", "|---|---|---|"]
    known += [f"| {each.client} | {each.what} | {each.answer} |" for each in DEVIATIONS]
    return HEAD + "\n".join(lines) + "\n" + REFUSED + "\n".join(told + known) + "\n"


if __name__ == "__main__":
    run = json.loads(Path(sys.argv[1]).read_text())
    if run.get("whole", True):
        Path(sys.argv[2]).write_text(page(run))
    else:
        print(f"{sys.argv[2]} stays as it is: a part of the matrix was run")
