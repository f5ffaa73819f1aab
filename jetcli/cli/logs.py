"""Where logs go: nowhere, to standard error under `-vv`, and to the file that `--log-file` names.

No library may write what it likes: the loggers of the login and of the ratchet have levels of their own
(`jetcli.xmpp.aioxmpp_fixes`, `jetcli.xmpp.omemo_ratchet`), so that no password and no key is ever in a log.
"""

import logging
import os
import time
from pathlib import Path

from jetcli.cli.invocation import Invocation
from jetcli.cli.streams import MAX_LINE
from jetcli.errors import LocalFileError
from jetcli.protocol.policy import shown


def set_up_logs(invocation: Invocation) -> None:
    """Send logs where the command line says; raise LocalFileError where the file cannot be written."""
    handlers: list[logging.Handler] = []
    if invocation.verbose > 1:
        handlers.append(_handler(logging.StreamHandler(), "jet: log: %(name)s: %(message)s"))
    if invocation.log_file is not None:
        handlers.append(_handler(_private_file(invocation.log_file), "%(asctime)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for handler in handlers or [logging.NullHandler()]:
        root.addHandler(handler)
    if handlers:
        root.setLevel(logging.INFO)
        logging.getLogger("jetcli").setLevel(logging.DEBUG)
        logging.getLogger("jetcli.phases").addFilter(_Times())
    logging.getLogger("omemo").setLevel(logging.INFO)


class _Times(logging.Filter):
    """Adds to the name of a phase how long it took, and how long after the start of the process it was over."""

    def __init__(self) -> None:
        super().__init__()
        self._started = _process_started()
        self._last = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its times."""
        now = record.created - self._started
        record.msg = f"{record.msg}: {now - self._last:.3f} s, done at {now:.3f} s"
        self._last = now
        return True


def _process_started() -> float:
    """Return when this process began, in seconds since the epoch; where that is not told, now."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as status:
            ticks = int(status.read().rpartition(")")[2].split()[19])
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time()


def _handler(handler: logging.Handler, form: str) -> logging.Handler:
    handler.setFormatter(_Shown(form))
    return handler


class _Shown(logging.Formatter):
    """Escapes what a terminal would obey: addresses and errors of a peer are in what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record; only a traceback has more than one."""
        return "\n".join(shown(line, MAX_LINE) for line in super().format(record).split("\n"))


def _private_file(path: Path) -> logging.Handler:
    """Open the file for its owner only: addresses and names of files are in it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LocalFileError(f"cannot write '{shown(str(path))}': {(error.strerror or 'no reason').lower()}") from None
    return logging.StreamHandler(os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace"))
