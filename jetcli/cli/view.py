"""What a person reads on standard error while a command runs.

Owns the words and when they appear. On a terminal running transfers are bars (`jetcli.cli.live`, loaded when the first
one moves); elsewhere each change of state is a line, and progress one every tenth or half a minute. All text of a peer
passes through `policy.shown`, and none of it is ever read as markup.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import singledispatchmethod
from typing import Any, Protocol

from jetcli.cli.rate import Rate
from jetcli.cli.streams import MAX_LINE, Messages
from jetcli.cli.wording import duration_text, rate_text, share_text, size_text
from jetcli.errors import JetError
from jetcli.protocol.device import Trust
from jetcli.protocol.policy import shown
from jetcli.transfer import events as happened

#: A wait is worth a word once it lasts this long.
PHASE_S = 1.0
LINE_EVERY_S = 30.0

TRUST_WORDS = {
    Trust.VERIFIED: "verified",
    Trust.BLIND: "not verified",
    Trust.UNDECIDED: "new key",
    Trust.DISTRUSTED: "distrusted",
}
PATH_WORDS = {"s5b-direct": "direct", "s5b-proxy": "relay", "ibb": "in-band (slow)"}


class Bars(Protocol):
    """Bars of running transfers at the foot of a terminal."""

    def move(self, transfer: str, name: str, count: int, size: int | None, tail: str) -> None:
        """Draw the bar of `transfer` at `count` of `size` bytes, with `tail` behind it."""

    def remove(self, transfer: str) -> None:
        """Take the bar of `transfer` away."""

    def line(self, text: str) -> None:
        """Write a line above the bars."""

    def hide(self) -> None:
        """Take all bars off the screen until the next one moves."""


@dataclass(slots=True)
class _Running:
    """One transfer as the person knows it. `tenth` and `told_at` say when its progress was last told as a line."""

    name: str
    peer: str
    size: int | None
    resumable: bool = False
    goes_on: bool = False
    path: str = ""
    bytes: int = 0
    tenth: int = 0
    told_at: float | None = None
    moved: bool = False
    rate: Rate = field(default_factory=Rate)


class View:
    """Tells a person what happens.

    `later` calls something after so many seconds; without it waits go unmentioned. `asks` says that offers become
    questions, which describe them better than a line.
    """

    def __init__(
        self,
        messages: Messages,
        *,
        direction: happened.Direction | None = None,
        quiet: bool = False,
        verbose: int = 0,
        bars: Callable[[Messages], Bars] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], Any] | None = None,
    ) -> None:
        self.messages = messages
        self.later = later
        self.asks = False
        self._waits_for_offers = False
        self._direction = direction
        self._quiet = quiet
        self._verbose = verbose
        self._make_bars = bars if not quiet else None
        self._bars: Bars | None = None
        self._monotonic = monotonic
        self._running: dict[str, _Running] = {}
        self._waiting: Any = None

    def emit(self, event: happened.Event) -> None:
        """Tell one event."""
        if not isinstance(event, happened.Detail):
            self._forget_wait()
        self._tell(event)

    def line(self, text: str) -> None:
        """Write one line, above the bars where there are any; with --quiet, nothing."""
        if not self._quiet:
            self._always(text)

    def error(self, error: JetError) -> None:
        """Tell a failure and the way out of it."""
        for line in self.messages.failure(error):
            self._always(line)

    def warning(self, message: str, hint: str = "") -> None:
        """Tell what stops nothing but matters."""
        self.line(f"{self.messages.painted('jet: warning:', 'yellow')} {shown(message, MAX_LINE)}")
        if hint:
            self.line(f"jet: hint: {shown(hint, MAX_LINE)}")

    def status(self) -> None:
        """Tell in one line where every running transfer is (SIGUSR1)."""
        for running in self._running.values():
            self._always(f"{running.name}: {_position(running)}")
        if not self._running:
            self._always("no transfer is running")

    def hide(self) -> None:
        """Clear the foot of the terminal, for a question or the end."""
        self._forget_wait()
        if self._bars is not None:
            self._bars.hide()

    def stopped(self) -> None:
        """Tell what a signal has ended."""
        self.hide()
        self.line("Stopped.")
        for transfer, running in self._running.items():
            if len(self._running) > 1 and not running.bytes:
                continue  # one of the many in a bundle
            moved = "sent" if self._direction == "send" else "received"
            amount = "nothing more" if running.goes_on and not running.bytes else _amount(running)
            self.line(f"{running.name}: {amount} had been {moved}.")
            if running.resumable and (running.bytes or running.goes_on):
                self.line(f"Continue with:  jet resume {transfer}")

    @singledispatchmethod
    def _tell(self, event: happened.Event) -> None:
        """Tell one event; one that has no words here stays untold."""

    @_tell.register
    def _connected(self, event: happened.Connected) -> None:
        if self._direction == "receive":
            self._waits_for_offers = True
            self.line(f"Waiting as {shown(event.jid)} · Ctrl-C to stop")
        elif self._verbose:
            self.line(f"Connected as {shown(event.jid)}")

    @_tell.register
    def _phase(self, event: happened.Phase) -> None:
        text = shown(event.text)
        already_said = self._waits_for_offers and event.id is None
        if self.later is not None and not already_said:
            self._waiting = self.later(PHASE_S, lambda: self.line(f"{text[:1].upper()}{text[1:]} …"))

    @_tell.register
    def _peer_found(self, event: happened.PeerFound) -> None:
        self.line(f"To {shown(event.jid)} ({TRUST_WORDS[event.trust]}) · end-to-end encrypted")
        if self._verbose:
            self.line(f"Its client is {shown(event.client)}" + (", a jet" if event.jet else ""))

    @_tell.register
    def _new_device(self, event: happened.NewDevice) -> None:
        doubt = "" if event.trusted else " (not trusted)"
        self.line(f"New key of {shown(event.jid)}, device {event.device_id}{doubt}: {event.fingerprint}")

    @_tell.register
    def _offered(self, event: happened.Offered) -> None:
        name = shown(event.name)
        running = _Running(name, shown(event.peer), event.size, event.resumable, bytes=event.held or 0)
        running.goes_on = event.held is not None
        self._running[event.id] = running
        if running.goes_on:
            so_far = f": {_amount(running)} {'sent' if event.direction == 'send' else 'here'} so far"
            self.line(f"{name} goes on{so_far if running.bytes else ''}")
            return
        size = "" if event.size is None else f", {size_text(event.size)}"
        if event.direction == "receive" and not self.asks:
            self.line(f"{shown(event.peer)} offers {name}{size}")
        elif event.direction == "send":
            self._plain(f"{name}: offered{size}")

    @_tell.register
    def _accepted(self, event: happened.Accepted) -> None:
        self._plain(f"{self._name(event.id)}: accepted")

    @_tell.register
    def _declined(self, event: happened.Declined) -> None:
        running = self._running.pop(event.id, None)
        if event.direction == "send" or event.by == "me":
            return
        what = f"{running.name} from {running.peer}" if running is not None else "an offer"
        reason = f": {shown(event.reason, 400)}" if event.reason else ""
        self.line(f"{'Lost' if event.by == 'peer' else 'Declined'} {what}{reason}")

    @_tell.register
    def _path_chosen(self, event: happened.PathChosen) -> None:
        path = PATH_WORDS[event.transport]
        if event.id in self._running:
            self._running[event.id].path = path
        self._plain(f"{self._name(event.id)}: path {path}")
        if self._verbose and event.relay:
            self.line(f"The relay is {shown(event.relay)}")

    @_tell.register
    def _progress(self, event: happened.Progress) -> None:
        now = self._monotonic()
        running = self._running.setdefault(event.id, _Running(event.id, "", event.size))
        running.bytes, running.size = event.bytes, event.size
        running.rate.report(now, event.bytes)
        moved, running.moved = running.moved, True
        if self._make_bars is None:
            self._progress_line(running, now)
            return
        if not moved and event.bytes == event.size:
            return  # it has come whole, as out of a bundle: there is nothing to watch
        if self._bars is None:
            self._bars = self._make_bars(self.messages)
        self._bars.move(event.id, running.name, event.bytes, event.size, running.path)

    def _progress_line(self, running: _Running, now: float) -> None:
        if running.told_at is None:
            running.told_at = now
        tenth = running.bytes * 10 // running.size if running.size else 0
        if tenth > running.tenth or now - running.told_at >= LINE_EVERY_S:
            running.tenth, running.told_at = tenth, now
            self.line(f"{running.name}: {_position(running)}")

    @_tell.register
    def _file_done(self, event: happened.FileDone) -> None:
        self._end(event.id)
        tick = self.messages.painted("✓", "green")
        self.line(f"{tick} {shown(event.name)}   {size_text(event.size)} in {duration_text(event.seconds)}")
        if self._verbose:
            digest = f", sha-256 {event.sha256}" if event.sha256 else ""
            self.line(f"Verified by {event.verified}{digest}")

    @_tell.register
    def _file_failed(self, event: happened.FileFailed) -> None:
        self._end(event.id)
        self.error(event.error)

    @_tell.register
    def _waiting_on(self, event: happened.Waiting) -> None:
        cause = shown(event.cause.message, MAX_LINE)
        if event.retry_in is None:
            most = "" if math.isinf(event.until_s) else f" ({duration_text(event.until_s)} at most)"
            self.line(f"{self._name(event.id)}: {cause}; waiting for a jet that knows the transfer{most}")
            return
        who = "the sender" if event.direction == "receive" else "the network"
        self.line(
            f"{self._name(event.id)}: {cause}; waiting for {who}"
            f" (try {event.attempt} in {duration_text(event.retry_in)})"
        )

    @_tell.register
    def _warned(self, event: happened.Warned) -> None:
        self.warning(event.message, event.hint)

    @_tell.register
    def _detail(self, event: happened.Detail) -> None:
        if self._verbose:
            self.line(self.messages.painted(shown(event.text, 1000), "dim"))

    def _always(self, text: str) -> None:
        if self._bars is not None:
            self._bars.line(text)
        else:
            self.messages.line(text)

    def _plain(self, text: str) -> None:
        if self._make_bars is None or self._verbose:
            self.line(text)

    def _name(self, transfer: str) -> str:
        return self._running[transfer].name if transfer in self._running else transfer

    def _end(self, transfer: str | None) -> None:
        if transfer is None:
            return
        self._running.pop(transfer, None)
        if self._bars is not None:
            self._bars.remove(transfer)

    def _forget_wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _amount(running: _Running) -> str:
    return size_text(running.bytes) if running.size is None else share_text(running.bytes, running.size)


def _position(running: _Running) -> str:
    share = f" ({running.bytes * 100 // running.size} %)" if running.size else ""
    speed = running.rate.bytes_per_s
    rate = "" if speed is None else f", {rate_text(speed)}"
    return f"{_amount(running)}{share}{rate}"
