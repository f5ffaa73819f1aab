"""The three standard streams as jet uses them: who is a terminal, and what happens when nobody reads.

Writing here never raises: a reader that has gone, or a full disk, is reported once to whoever asked, a terminal that
has gone is not reported at all (SIGHUP does that). Decides about colour, and nothing else about what is written.
"""

import os
import select
import sys
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

from jetcli.errors import JetError

Colour = Literal["auto", "always", "never"]

#: Longest line of a failure: it may name two paths, which would be of no use if they were cut.
MAX_LINE = 8192

_SGR = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


def provide_standard_streams() -> None:
    """Open /dev/null for each standard stream that the caller has closed, before a file of ours gets its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)  # what a command that we start inherits
            if nothing != number:
                os.close(nothing)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


class Output:
    """Standard output: file names or events, never anything else.

    `closed` is called with the reason when nothing can be written any more: its reader has gone, the disk is full.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.closed: Callable[[OSError], object] = lambda _: None
        self._gone = False

    @property
    def terminal(self) -> bool:
        """Whether a person reads this."""
        return self._stream.isatty()

    def write(self, data: bytes) -> None:
        """Write `data` now; once that has failed, do nothing."""
        if self._gone:
            return
        try:
            self._stream.flush()
            self._stream.buffer.write(data)
            self._stream.flush()
        except OSError as error:
            self._gone = True
            _point_at_nothing(self._stream)
            self.closed(error)

    def would_block(self) -> bool:
        """Return whether writing now would wait for the reader."""
        try:
            return not select.select([], [self._stream], [], 0)[1]
        except (OSError, ValueError):
            return True


class Messages:
    """Standard error: what a person reads while a command runs."""

    def __init__(
        self, stream: TextIO | None = None, colour: Colour = "auto", environment: Mapping[str, str] | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        environment = os.environ if environment is None else environment
        self.terminal = self.stream.isatty()
        self.smart = self.terminal and environment.get("TERM", "") not in {"", "dumb"}
        self._asking = False
        self.coloured = colour == "always" or (colour == "auto" and self.smart and not environment.get("NO_COLOR"))

    def line(self, text: str) -> None:
        """Write one line, below a question that has no answer yet; a terminal that has gone is no reason to fail."""
        self.leave_question()
        self._write(f"{text}\n")

    def failure(self, error: JetError) -> list[str]:
        """Return the lines that tell of `error` and the way out of it.

        A peer's words in it are escaped where the error is made; what was forgotten there is escaped here.
        """
        from jetcli.protocol.policy import shown

        told = f"{self.painted('jet: error:', 'red')} {shown(error.message, MAX_LINE)}"
        return [told, f"jet: hint: {shown(error.hint, MAX_LINE)}"] if error.hint else [told]

    def prompt(self, text: str) -> None:
        """Write a question without ending its line; `answered` says that the terminal has ended it."""
        self._write(text)
        self._asking = True

    def answered(self) -> None:
        """Take note that the answer has ended the line of the question."""
        self._asking = False

    def leave_question(self) -> None:
        """End the line of a question that got no answer; does nothing where there is none."""
        if self._asking:
            self._asking = False
            self._write("\n")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            return

    def painted(self, text: str, style: str) -> str:
        """Return `text` in a style of this page (`red`, `green`, `yellow`, `bold`, `dim`), where colour is wanted."""
        return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if self.coloured else text


def _point_at_nothing(stream: TextIO) -> None:
    """Give the interpreter somewhere to flush to at its end, so that it does not complain."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        return
