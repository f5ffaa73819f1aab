"""What happens during a command as JSON, one object a line: the schema that scripts rely on, version 1.

Pure apart from the clocks it is given: events of `jetcli.transfer.events` in, objects out. Text of a peer stands in
the objects as it came, since a program compares it; every character that could drive a terminal is escaped by the
encoding, which is plain ASCII.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from jetcli import __version__
from jetcli.cli.rate import Rate
from jetcli.errors import JetError
from jetcli.protocol.device import Trust
from jetcli.transfer import events as happened

VERSION = 1

#: At most four progress events a second; the first and the last of a transfer are always told.
PROGRESS_EVERY_S = 0.25

#: "changed" because a key stays undecided only where keys of that contact have been verified before.
_TRUST = {
    Trust.VERIFIED: "verified",
    Trust.BLIND: "btbv",
    Trust.UNDECIDED: "changed",
    Trust.DISTRUSTED: "distrusted",
}

Json = dict[str, Any]


@dataclass(slots=True)
class _Running:
    """One transfer under way: its speed, when progress was last told, and what has been held back since."""

    rate: Rate = field(default_factory=Rate)
    told_at: float | None = None
    held: happened.Progress | None = None


class JsonEvents:
    """Turns what happens into the lines of the JSON schema. Ends with exactly one `result`."""

    def __init__(
        self,
        direction: happened.Direction | None,
        write: Callable[[str], object],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._direction = direction
        self._write = write
        self._monotonic = monotonic
        self._now = now
        self._running: dict[str, _Running] = {}
        self._new_keys: set[str] = set()
        self._ended = False

    def start(self, command: str, account: str | None) -> None:
        """Tell that a command begins."""
        self._tell("start", None, version=__version__, account=account, command=command)

    def emit(self, event: happened.Event) -> None:
        """Tell one event, or hold it back until it counts."""
        if isinstance(event, happened.Progress):
            self._progress(event)
            return
        if isinstance(event, happened.FileDone | happened.FileFailed):
            self._flush_progress(event.id)
        if isinstance(event, happened.NewDevice):
            self._new_keys.add(event.jid)
        if type(event) not in _OBJECTS:
            return
        kind, fields = _OBJECTS[type(event)]
        told = fields(event)
        if isinstance(event, happened.PeerFound) and self._is_new(event):
            told["trust"] = "new"
        self._tell(kind, getattr(event, "id", None), **told)

    def prompt(self, transfer: str, question: str, choices: list[str], default: str) -> None:
        """Tell that a person is being asked."""
        self._tell("prompt", transfer, question=question, choices=choices, default=default)

    def row(self, fields: Json, kind: str = "device") -> None:
        """Tell one row of a table."""
        self._tell(kind, None, **fields)

    def error(self, error: JetError, *, transfer: str | None = None, resumable: bool = False) -> None:
        """Tell a failure."""
        self._flush_progress(transfer)
        self._tell("error", transfer, **_failure(error), resumable=resumable)

    def result(self, code: int, **sums: object) -> None:
        """Tell how the command ended; the last line there is."""
        for transfer in tuple(self._running):
            self._flush_progress(transfer)
        self._tell("result", None, exit=code, ok=code == 0, **sums)
        self._ended = True

    def _tell(self, kind: str, transfer: str | None, /, **fields: object) -> None:
        if self._ended:
            return
        moment = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        common = {"v": VERSION, "t": moment, "type": kind, "id": transfer, "dir": self._direction}
        self._write(json.dumps(common | fields))

    def _is_new(self, peer: happened.PeerFound) -> bool:
        return peer.trust is Trust.BLIND and peer.jid.partition("/")[0] in self._new_keys

    def _progress(self, event: happened.Progress) -> None:
        now = self._monotonic()
        running = self._running.setdefault(event.id, _Running())
        running.rate.report(now, event.bytes)
        if running.told_at is not None and now - running.told_at < PROGRESS_EVERY_S:
            running.held = event
            return
        running.told_at, running.held = now, None
        self._tell("progress", event.id, **_position(event, running.rate))

    def _flush_progress(self, transfer: str | None) -> None:
        running = self._running.pop(transfer, None) if transfer is not None else None
        if running is not None and running.held is not None:
            self._tell("progress", transfer, **_position(running.held, running.rate))


def _peer(event: happened.PeerFound) -> Json:
    return {
        "jid": event.jid,
        "client": event.client,
        "caps": {"jet": event.jet, "omemo": True, "range": event.resumable, "stream": event.jet},
        "trust": _TRUST[event.trust],
    }


def _new_device(event: happened.NewDevice) -> Json:
    message = f"the key of device {event.device_id} is new and {'was' if event.trusted else 'not'} trusted"
    return {"code": "new-device", "message": message, "jid": event.jid, "fingerprint": event.fingerprint}


def _offer(event: happened.Offered) -> Json:
    other = "to" if event.direction == "send" else "from"
    return {
        "name": event.name,
        "size": event.size,
        "media_type": event.media_type,
        other: event.peer,
        "resumable": event.resumable,
    }


def _position(event: happened.Progress, rate: Rate) -> Json:
    speed, eta = rate.bytes_per_s, rate.eta_s(event.size)
    return {
        "bytes": event.bytes,
        "size": event.size,
        "offset": event.offset,
        "rate": None if speed is None else round(speed),
        "eta": None if eta is None else round(eta, 1),
    }


def _file(event: happened.FileDone) -> Json:
    return {
        "name": event.name,
        "path": None if event.path is None else str(event.path.absolute()),
        "size": event.size,
        "seconds": round(event.seconds, 3),
        "verified": event.verified,
        "sha256": event.sha256,
    }


def _waiting(event: happened.Waiting) -> Json:
    return {
        "for": "peer" if event.direction == "receive" or event.retry_in is None else "network",
        "attempt": event.attempt,
        "retry_in": None if event.retry_in is None else round(event.retry_in, 1),
        "message": event.cause.message,
    }


def _failure(error: JetError) -> Json:
    return {
        "code": error.code,
        "exit": error.exit_code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }


def _file_failed(event: happened.FileFailed) -> Json:
    return {"name": event.name, **_failure(event.error), "resumable": event.resumable}


#: What needs no memory of what came before. Phases and details are for people.
_OBJECTS: dict[type, tuple[str, Callable[[Any], Json]]] = {
    happened.Connected: ("connected", lambda e: {"jid": e.jid, "server": e.server}),
    happened.PeerFound: ("peer", _peer),
    happened.NewDevice: ("warning", _new_device),
    happened.Offered: ("offer", _offer),
    happened.Accepted: ("accepted", lambda e: {"by": "peer" if e.direction == "send" else "me", "reason": ""}),
    happened.Declined: ("declined", lambda e: {"by": e.by, "reason": e.reason}),
    happened.PathChosen: ("path", lambda e: {"transport": e.transport, "relay": e.relay}),
    happened.FileDone: ("file", _file),
    happened.FileFailed: ("error", _file_failed),
    happened.Waiting: ("waiting", _waiting),
    happened.Warned: ("warning", lambda e: {"code": "warning", "message": e.message, "hint": e.hint}),
}
