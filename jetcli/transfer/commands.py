"""Which of the files that come belong to one command of a sender, and how many such commands have ended.

A file without a batch is a command of its own. Consent is given to a command, not to each of its files; it is bound to
the device that the first of them was sealed by. Where a sender leaves before its last file, its command ends after a
while without one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from jetcli.protocol.model import Batch
from jetcli.transfer.events import Consent

#: How long the next file of a batch may be in coming.
NEXT_FILE_S = 30.0
_MOST_KEPT = 256

#: The identity key of a device, and the id that it gave to a batch.
Key = tuple[bytes, str]


@dataclass(slots=True)
class _Command:
    of: int
    ended: set[int] = field(default_factory=set)
    counts: bool = False
    saved: set[int] = field(default_factory=set)
    returned: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None


class Commands:
    """Counts commands; `finished` is called for each one that has ended and of which something came."""

    def __init__(self, finished: Callable[[], None]) -> None:
        self._finished = finished
        self._open: dict[Key, _Command] = {}
        self._answers: dict[Key, Consent] = {}

    def agreed(self, device: bytes, batch: Batch | None) -> Consent | None:
        """Return what was answered to an earlier file of the same command."""
        return self._answers.get((device, batch.id)) if batch else None

    def answer(self, device: bytes, batch: Batch | None, consent: Consent) -> None:
        """Remember what was answered to the first file of a command."""
        if batch is not None and len(self._answers) < _MOST_KEPT:
            self._answers[device, batch.id] = Consent(consent.accept, consent.reason, on_exist=consent.on_exist)

    def began(self, device: bytes, batch: Batch | None) -> None:
        """Note that a file of a command is here."""
        if batch is not None and (device, batch.id) in self._open:
            command = self._open[device, batch.id]
            self._stop_waiting(command)
            command.returned.set()

    def saved(self, device: bytes, batch: Batch) -> set[int]:
        """Return the numbers of the files of a command that came in bundles and are saved, to be added to."""
        return self._open.setdefault((device, batch.id), _Command(batch.of)).saved

    async def returns(self, device: bytes, batch: Batch, timeout_s: float) -> bool:
        """Wait for the next file of a command whose sender has lost us; say whether one comes in time."""
        command = self._open.setdefault((device, batch.id), _Command(batch.of))
        self._stop_waiting(command)
        command.returned.clear()
        try:
            async with asyncio.timeout(timeout_s):
                return await command.returned.wait()
        except TimeoutError:
            return False

    def ended(self, device: bytes | None, batch: Batch | None, *, declined: bool = False) -> None:
        """Note that a file has ended; what was declined does not make its command count."""
        if device is None or batch is None:
            if not declined:
                self._finished()
            return
        key = (device, batch.id)
        command = self._open.setdefault(key, _Command(batch.of))
        command.ended.add(batch.index)
        command.counts |= not declined
        self._stop_waiting(command)
        if batch.index == batch.of or len(command.ended) >= command.of:
            self._close(key)
        else:
            command.timer = asyncio.get_running_loop().call_later(NEXT_FILE_S, self._close, key)

    def _close(self, key: Key) -> None:
        command = self._open.pop(key, None)
        if command is not None and command.counts:
            self._finished()

    @staticmethod
    def _stop_waiting(command: _Command) -> None:
        if command.timer is not None:
            command.timer.cancel()
            command.timer = None
