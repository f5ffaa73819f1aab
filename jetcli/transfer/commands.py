"""Which of the files that come belong to one command of a sender, and how many such commands have ended.

A file without a batch is a command of its own. Consent is given to a command, not to each of its files; it is bound to
the device that the first of them was sealed by and to the number of files that the person was told, and ends with the
command. Where a sender leaves before its last file, its command ends after a while without one.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from jetcli.protocol.model import Batch
from jetcli.transfer.events import Consent

#: How long the next file of a batch may be in coming.
NEXT_FILE_S = 30.0
_MOST_KEPT = 256

#: The identity key of a device, the id that it gave to a batch, and how many files it said the batch has.
Key = tuple[bytes, str, int]


@dataclass(slots=True)
class _Answer:
    """What a person said to a command, and the numbers of the files that have been let in by it."""

    consent: Consent
    let_in: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Command:
    #: How many of its files are here, and how many have ended; one that comes again counts again.
    here: int = 0
    ended: int = 0
    was_last: bool = False
    counts: bool = False
    saved: set[int] = field(default_factory=set)
    returned: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None


class Commands:
    """Counts commands; `finished` is called for each one that has ended and of which something came.

    `batch` is that of the first of `files` that come together.
    """

    def __init__(self, finished: Callable[[], None]) -> None:
        self._finished = finished
        self._open: dict[Key, _Command] = {}
        self._answers: dict[Key, _Answer] = {}

    def agreed(self, device: bytes, batch: Batch | None, files: int = 1) -> Consent | None:
        """Return what was answered to an earlier file of the same command.

        A yes lets each of its files in once, and again after a break; a no is for all of them.
        """
        answer = self._answers.get(_key(device, batch)) if batch else None
        if batch is None or answer is None:
            return None
        if answer.consent.accept:
            numbers = _numbers(batch, files)
            if not answer.let_in.isdisjoint(numbers):
                return None
            answer.let_in.update(numbers)
        return answer.consent

    def answer(self, device: bytes, batch: Batch | None, consent: Consent, files: int = 1) -> None:
        """Remember what was answered to the first file of a command."""
        if batch is None or len(self._answers) >= _MOST_KEPT:
            return
        said = Consent(consent.accept, consent.reason, on_exist=consent.on_exist)
        answer = self._answers.setdefault(_key(device, batch), _Answer(said))
        answer.consent = said
        answer.let_in.update(_numbers(batch, files))

    def began(self, device: bytes, batch: Batch | None, files: int = 1) -> None:
        """Note that files of a command are here."""
        if batch is not None:
            command = self._command(device, batch)
            command.here += files
            self._stop_waiting(command)
            command.returned.set()

    def saved(self, device: bytes, batch: Batch) -> set[int]:
        """Return the numbers of the files of a command that came in bundles and are saved, to be added to."""
        return self._command(device, batch).saved

    def broke(self, device: bytes, batch: Batch, files: int) -> asyncio.Event:
        """Note that the line broke under files of a command: they may come again. What is returned is set then."""
        command = self._command(device, batch)
        command.here = max(command.here - files, 0)
        if command.returned.is_set():
            command.returned = asyncio.Event()
        if (answer := self._answers.get(_key(device, batch))) is not None:
            answer.let_in.difference_update(_numbers(batch, files))
        return command.returned

    @staticmethod
    async def returns(back: asyncio.Event, timeout_s: float) -> bool:
        """Wait for what `broke` returned; say whether it is set in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await back.wait()
        except TimeoutError:
            return False

    def ended(self, device: bytes | None, batch: Batch | None, *, declined: bool = False) -> None:
        """Note that a file has ended; what was declined does not make its command count."""
        if device is None or batch is None:
            if not declined:
                self._finished()
            return
        command = self._command(device, batch)
        command.here = max(command.here - 1, 0)
        command.ended += 1
        command.counts |= not declined
        command.was_last |= batch.index == batch.of
        self._stop_waiting(command)
        if command.here:
            return
        key = _key(device, batch)
        if command.was_last or command.ended >= batch.of:
            self._close(key)
        else:
            command.timer = asyncio.get_running_loop().call_later(NEXT_FILE_S, self._close, key)

    def _command(self, device: bytes, batch: Batch) -> _Command:
        return self._open.setdefault(_key(device, batch), _Command())

    def _close(self, key: Key) -> None:
        self._answers.pop(key, None)
        command = self._open.pop(key, None)
        if command is not None and command.counts:
            self._finished()

    @staticmethod
    def _stop_waiting(command: _Command) -> None:
        if command.timer is not None:
            command.timer.cancel()
            command.timer = None


def _key(device: bytes, batch: Batch) -> Key:
    return device, batch.id, batch.of


def _numbers(batch: Batch, files: int) -> range:
    return range(batch.index, batch.index + files)
