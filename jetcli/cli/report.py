"""Everything that a command says, to people and to programs, and the sums of what it did.

Feeds each event to the view (standard error) and, with --json, to the schema (standard output); without --json a
receiver's finished files go to standard output, one absolute path each. Sees to it that a failure is told once and
that the result is the last word.
"""

import os
import time
from pathlib import Path
from typing import Any
from weakref import WeakSet

from jetcli.cli.events import JsonEvents
from jetcli.cli.streams import Messages, Output
from jetcli.cli.view import Bars, View
from jetcli.errors import JetError, PartialError
from jetcli.transfer.events import Declined, Direction, Event, FileDone, FileFailed, Offered, Progress

#: What a terminal needs that is left while bars are on it: its cursor.
_SHOW_CURSOR = b"\x1b[?25h"


class Report:
    """Tells what happens in one run of a command."""

    def __init__(
        self,
        output: Output,
        messages: Messages,
        *,
        direction: Direction | None = None,
        json: bool = False,
        quiet: bool = False,
        verbose: int = 0,
    ) -> None:
        self.output = output
        self.messages = messages
        self.direction = direction
        # Bars and events on one terminal would draw over each other.
        live = messages.smart and not (json and output.terminal)
        self.view = View(messages, direction=direction, quiet=quiet, verbose=verbose, bars=_live_bars if live else None)
        self.json = JsonEvents(direction, self._json_line) if json else None
        self.path_end = "\n"
        #: How many files the command was asked to send, where it is known.
        self.expected = 0
        self._live = live
        self._began = time.monotonic()
        self._files = 0
        self._bytes = 0
        self._told: WeakSet[JetError] = WeakSet()
        self._resume_id: str | None = None
        # Transfers under way that can be resumed; the value says whether there is anything to continue.
        self._under_way: dict[str | None, bool] = {}
        self._finished = False

    def start(self, command: str, account: str | None) -> None:
        """Tell that a command begins."""
        if self.json is not None:
            self.json.start(command, account)

    def emit(self, event: Event) -> None:
        """Tell one event; this is the listener that transfers report to."""
        self._note_progress(event)
        if isinstance(event, FileFailed):
            self._note_failure(event)
        self.view.emit(event)
        if self.json is not None:
            self.json.emit(event)
        if isinstance(event, FileDone):
            self._note_file(event)

    def error(self, error: JetError) -> None:
        """Tell why the command fails, unless it was told when it happened."""
        if error in self._told:
            return
        self._told.add(error)
        self.view.hide()
        self.view.error(error)
        if self.json is not None:
            self.json.error(error)

    def row(self, fields: dict[str, Any], kind: str = "device") -> None:
        """Tell one row of a table to a program."""
        if self.json is not None:
            self.json.row(fields, kind)

    def stopped(self) -> None:
        """Tell what a signal has ended, and how many files of several have not been sent."""
        self.view.stopped()
        if self.expected > 1 and self._files < self.expected:
            self.view.line(f"{self.expected - self._files} of {self.expected} files were not sent.")

    def result(self, code: int) -> None:
        """Tell how the command ended; what comes after the first call is not told."""
        if self._finished:
            return
        self._finished = True
        self.view.hide()
        if self.json is not None:
            stopped = next((transfer for transfer, moved in self._under_way.items() if moved), None)
            resume_id = self._resume_id or stopped
            self.json.result(
                code,
                files=self._files,
                bytes=self._bytes,
                seconds=round(time.monotonic() - self._began, 3),
                resumable=resume_id is not None,
                resume_id=resume_id,
            )

    def last_words(self, code: int) -> None:
        """Tell the result of a command that is being left by force, where that waits for nobody."""
        if self._live:
            try:
                os.write(self.messages.stream.fileno(), _SHOW_CURSOR)
            except (OSError, ValueError):
                return
        if self.json is not None and not self._finished and not self.output.would_block():
            self.result(code)

    def _note_progress(self, event: Event) -> None:
        match event:
            case Offered(resumable=True):
                self._under_way[event.id] = event.held is not None
            case Progress() if event.id in self._under_way and event.bytes:
                self._under_way[event.id] = True
            case FileDone() | FileFailed() | Declined():
                self._under_way.pop(event.id, None)

    def _note_failure(self, event: FileFailed) -> None:
        self._told.add(event.error)
        if event.resumable:
            self._resume_id = event.id

    def _note_file(self, event: FileDone) -> None:
        self._files += 1
        self._bytes += event.size
        # What a sender receives on the side, because somebody asked for it, is not what its output is for.
        received = event.direction == "receive" and self.direction != "send"
        if self.json is None and received and event.path is not None:
            self._path_line(event.path)

    def _path_line(self, path: Path) -> None:
        self.output.write(os.fsencode(path.absolute()) + self.path_end.encode())

    def _json_line(self, line: str) -> None:
        self.output.write(f"{line}\n".encode())


def exit_code(results: list[FileDone | FileFailed]) -> int:
    """Return the exit code of a command that ended with `results`: of the one failure there is, or "partial"."""
    failures = [result.error for result in results if isinstance(result, FileFailed)]
    if not failures:
        return 0
    codes = {error.exit_code for error in failures}
    return codes.pop() if len(failures) == len(results) and len(codes) == 1 else PartialError.exit_code


def _live_bars(messages: Messages) -> Bars:
    from jetcli.cli.live import LiveBars

    return LiveBars(messages)
