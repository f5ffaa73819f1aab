"""What surrounds a command: the global options, and the means to report and to be interrupted.

One `Invocation` lives from the start of the process to its end. Importing this costs nothing, so that `--help` and
usage errors stay fast; the report, which knows the events, is loaded when a command begins.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jetcli.cli.signals import Interruption
from jetcli.cli.streams import Colour, Messages, Output
from jetcli.errors import JetError, LocalFileError

if TYPE_CHECKING:
    from jetcli.cli.report import Report
    from jetcli.state.trust import TrustPolicy
    from jetcli.transfer.events import Direction


@dataclass(slots=True)
class Invocation:
    """The global options, filled in while the command line is read, and what belongs to the process.

    `password` is what JET_PASSWORD held. `given` names the options that stood on the command line itself, which beat
    the environment wherever they stood. `trust` and `fingerprints` are this run's; None and empty where it names none.
    `rate` is how many bytes a second may move.
    """

    interruption: Interruption
    password: str | None = field(default=None, repr=False)
    account: str | None = None
    config: Path | None = None
    quiet: bool = False
    verbose: int = 0
    json: bool = False
    color: Colour = "auto"
    no_input: bool = False
    timeout: float | None = None
    log_file: Path | None = None
    rate: int | None = None
    trust: "TrustPolicy | None" = None
    fingerprints: tuple[bytes, ...] = ()
    given: set[str] = field(default_factory=set)
    report: "Report | None" = None

    def begin(
        self, command: str | None, direction: "Direction | None" = None, *, events_to_stderr: bool = False
    ) -> "Report":
        """Start reporting on `command`; later calls return the same report.

        `events_to_stderr` leaves standard output to the bytes of a file.
        """
        if self.report is None:
            from jetcli.cli.report import Report

            self.report = Report(
                Output(sys.stderr) if events_to_stderr else Output(),
                Messages(colour=self.color),
                direction=direction,
                json=self.json,
                quiet=self.quiet,
                verbose=self.verbose,
            )
            self.report.output.closed = self.closed
            self.interruption.last_words = self.report.last_words
            if command is not None:
                self.report.start(command, self.account)
        return self.report

    def fail(self, error: JetError) -> None:
        """Tell why the command fails. Words that were never understood need no report, unless a program reads it."""
        if self.report is not None or self.json:
            self.begin(None).error(error)
            return
        messages = Messages(colour=self.color)
        for line in messages.failure(error):
            messages.line(line)

    def print(self, text: str) -> int:
        """Write `text` to standard output, all that a command had to do; returns the exit code."""
        output = Output()
        output.closed = self.closed
        output.write(text.encode())
        return 0

    def closed(self, error: OSError) -> None:
        """End the command, since standard output takes no more: as SIGPIPE would, or with the reason."""
        from jetcli.cli.signals import SIGPIPE_CODE

        if isinstance(error, BrokenPipeError):
            self.interruption.stop(SIGPIPE_CODE)
            return
        messages = Messages(colour=self.color)
        for line in messages.failure(LocalFileError(f"cannot write to standard output: {error.strerror}")):
            messages.line(line)
        self.interruption.stop(LocalFileError.exit_code)
