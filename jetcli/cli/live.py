"""Bars at the foot of a terminal. The only module of the command line that needs rich while a transfer runs.

Names arrive cleaned; still nothing here is read as markup. Knows no events: the view says what to draw.
"""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from jetcli.cli.rate import Rate
from jetcli.cli.streams import Messages
from jetcli.cli.wording import clock_text, rate_text, share_text, size_text

#: A name longer than this would leave no room for the bar.
NAME_WIDTH = 32


class LiveBars:
    """The bars of `jetcli.cli.view`, drawn by rich on standard error."""

    def __init__(self, messages: Messages) -> None:
        self._console = Console(
            file=messages.stream, no_color=not messages.coloured, highlight=False, markup=False, emoji=False
        )
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False),
            console=self._console,
            refresh_per_second=8,
            transient=True,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._rates: dict[str, Rate] = {}
        self._drawn = False

    def move(self, transfer: str, name: str, count: int, size: int | None, tail: str) -> None:
        """Draw the bar of `transfer` at `count` of `size` bytes, with `tail` behind it."""
        if transfer not in self._tasks:
            self._tasks[transfer] = self._progress.add_task(_cut(name), total=size, figures="")
            self._rates[transfer] = Rate()
        rate = self._rates[transfer]
        rate.report(time.monotonic(), count)
        self._progress.update(self._tasks[transfer], completed=count, figures=figures(count, size, rate, tail))
        self._show()

    def remove(self, transfer: str) -> None:
        """Take the bar of `transfer` away."""
        if transfer not in self._tasks:
            return
        self._progress.remove_task(self._tasks.pop(transfer))
        del self._rates[transfer]
        if not self._tasks:
            self.hide()

    def line(self, text: str) -> None:
        """Write a line above the bars."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def hide(self) -> None:
        """Take all bars off the screen until the next one moves."""
        if self._drawn:
            self._progress.stop()
            self._drawn = False

    def _show(self) -> None:
        if not self._drawn:
            self._progress.start()
            self._drawn = True


def figures(count: int, size: int | None, rate: Rate, tail: str) -> str:
    """Write what stands behind a bar: `1.3 of 2.2 GB   58 %   41 MB/s   0:22   direct`."""
    amount = size_text(count) if size is None else share_text(count, size)
    share = f"{count * 100 // size} %" if size else ""
    speed = rate.bytes_per_s
    parts = [amount, share, "" if speed is None else rate_text(speed), clock_text(rate.eta_s(size)), tail]
    return "  ".join(part for part in parts if part)


def _cut(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 10]}…{name[-9:]}"
