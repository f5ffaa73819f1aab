"""Tables on standard output: for a person drawn by rich, for a program a line a row, its fields parted by tabs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from jetcli.cli.report import Report
from jetcli.cli.wording import plural
from jetcli.protocol.policy import shown

if TYPE_CHECKING:
    from jetcli.transfer.peer import DeviceRow

DEVICE_COLUMNS = ("DEVICE", "CLIENT", "RECEIVES", "SENDS", "JET-OMEMO", "RESUMES", "STREAMS", "PATHS", "TRUST")


def show_devices(
    report: Report, jid: str, rows: Sequence["DeviceRow"], *, raw: bool = False, own: bool = False
) -> bool:
    """Show what the devices of `jid` can do; return whether a file could be sent to one of them.

    With `raw` what they advertise, word by word. Of our `own` devices the first is this one.
    """
    able = [row for row in rows if not row.why_not]
    if report.json is not None:
        for row in rows:
            fields = asdict(row)
            features = fields.pop("features")
            report.row(fields | ({"features": features} if raw else {}))
        return bool(able)
    report.view.line(f"{shown(jid)} · {plural(len(rows), 'device')} online")
    if raw:
        features = [(_resource(row.jid), shown(feature)) for row in rows for feature in row.features]
        show_table(report, ("DEVICE", "FEATURE"), features)
        return bool(able)
    show_table(report, DEVICE_COLUMNS, [_device_cells(row) for row in rows])
    if own:
        report.view.line(f"This is {_resource(rows[0].jid)}, as it is while it receives.")
        return bool(able)
    for row in rows:
        for remark in filter(None, (row.why_not, row.note)):
            report.view.line(f"{_resource(row.jid)}: {shown(remark)}")
    report.view.line(f"Would send to {_resource(able[0].jid)}." if able else "No device can take a file.")
    return bool(able)


def show_table(report: Report, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write `rows` of cleaned text under `columns`; the names of the columns are for people only."""
    if not report.output.terminal:
        for row in rows:
            report.output.write(("\t".join(row) + "\n").encode())
        return
    report.output.write(_drawn(columns, rows, coloured=report.messages.coloured).encode())


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], *, coloured: bool) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(no_color=not coloured, highlight=False, markup=False, emoji=False)
    if _width(columns, rows) > console.width:
        return _one_below_the_other(columns, rows)
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table has to be for no word in it to be broken."""
    from rich.cells import cell_len

    cells = zip(columns, *rows, strict=True)
    return sum(2 + max(cell_len(word) for cell in column for word in cell.split(" ")) for column in cells)


def _one_below_the_other(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write each row as a block of lines, for a terminal that is too narrow for a table."""
    wide = max(map(len, columns))
    return "\n".join(
        "".join(f"{column:{wide}}  {cell}\n" for column, cell in zip(columns, row, strict=True)) for row in rows
    )


def _device_cells(row: "DeviceRow") -> tuple[str, ...]:
    facts = (row.receives, row.sends, row.jet_omemo, row.resumes, row.streams)
    paths = " ".join(row.paths)
    return (
        _resource(row.jid),
        shown(row.client),
        *("yes" if fact else "no" for fact in facts),
        shown(paths),
        shown(row.trust),
    )


def _resource(jid: str) -> str:
    bare, slash, resource = jid.partition("/")
    return shown(f"/{resource}" if slash else bare)
