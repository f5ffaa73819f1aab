"""What a signal does to a command: the first one ends it in good order, the second at once.

Owns the exit code of an ended command and the moment after which it leaves come what may. Knows nothing of transfers:
it cancels the one task that it was told of, and that task says goodbye to the peer and saves its state.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

#: A closed terminal ends a command like a request to end (SIGHUP as SIGTERM).
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
SIGPIPE_CODE = 141

#: The promise is two seconds; the rest is for the interpreter and the disk.
GRACE_S = 1.8


class Stopped(BaseException):
    """A signal has ended the command; no handler of errors may catch it."""


class Interruption:
    """The end of a command before its time: by a signal, or because nobody reads its output any more.

    `code` is the exit code once that has happened. `last_words` is called before the process is left by force, and
    must not wait for anybody.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit, *, grace_s: float = GRACE_S) -> None:
        self.code: int | None = None
        self.last_words: Callable[[int], object] = lambda _code: None
        self._leave = leave
        self._grace_s = grace_s
        self._cancel: Callable[[], object] | None = None
        self._watchdog: threading.Timer | None = None

    def install(self) -> None:
        """Take over the signals, except those that whoever started jet has switched off (nohup, shell jobs)."""
        for number in CODES:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)
        # Who asks for the state of a transfer before there is one, or after it, must not kill it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def cancels(self, cancel: Callable[[], object] | None) -> None:
        """Name what the first signal calls from now on; with None it raises Stopped where the program stands."""
        self._cancel = cancel

    def stop(self, code: int) -> None:
        """End the command with `code` in good order, within the time of grace."""
        if self.code is not None:
            return
        self.code = code
        self._watchdog = threading.Timer(self._grace_s, self._leave_at_once)
        self._watchdog.daemon = True
        self._watchdog.start()
        if self._cancel is not None:
            self._cancel()

    def settled(self) -> None:
        """Take note that the command has ended by itself: there is nothing left to force."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.code is not None:
            self._leave_at_once()
            return
        self.stop(CODES[signal.Signals(number)])
        if self._cancel is None:
            raise Stopped

    def _leave_at_once(self) -> None:
        code = self.code or 1
        self.last_words(code)
        self._leave(code)
