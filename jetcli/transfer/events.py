"""What happens during a transfer, as values; `jetcli.cli` shows them to a person or prints them as JSON.

Text fields hold peer text as it came: whoever prints it passes it through `policy.shown` first. Sizes are bytes of
plaintext, times are seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct

from jetcli.errors import JetError
from jetcli.protocol.device import Trust
from jetcli.protocol.model import PathKind
from jetcli.transfer.options import OnExist

Direction = Literal["send", "receive"]
Verification = Literal["chunks", "tag", "tag+checksum", "chunks+checksum"]


class Connected(Struct, frozen=True):
    """The account is online as `jid` (full)."""

    jid: str
    server: str


class Phase(Struct, frozen=True):
    """A named wait has begun ("connecting", "waiting for juliet to accept"); shown when it lasts over a second."""

    text: str
    id: str | None = None


class PeerFound(Struct, frozen=True):
    """The device of the peer that the transfer will use, and how far its keys are trusted."""

    jid: str
    client: str
    trust: Trust
    jet: bool
    resumable: bool


class NewDevice(Struct, frozen=True):
    """A key was met for the first time, and `trusted` (BTBV) or not; `fingerprint` as OMEMO clients print it."""

    jid: str
    device_id: int
    fingerprint: str
    trusted: bool = True


class Offered(Struct, frozen=True):
    """A file was offered, by us (`direction` send) or to us.

    `held` is how many bytes of it a transfer that goes on holds already, as far as we know; None for a new one.
    """

    id: str
    direction: Direction
    peer: str
    name: str
    size: int | None
    media_type: str | None
    resumable: bool
    held: int | None = None


class Accepted(Struct, frozen=True):
    """The offer was accepted, by the peer or by us."""

    id: str
    direction: Direction


class Declined(Struct, frozen=True):
    """The offer was declined; `by` is "me", "peer" or "policy"."""

    id: str
    direction: Direction
    by: str
    reason: str


class PathChosen(Struct, frozen=True):
    """The bytes of transfer `id` travel this way."""

    id: str
    direction: Direction
    transport: PathKind
    relay: str | None = None


class Progress(Struct, frozen=True):
    """`bytes` of `size` have been sent, or received and verified as far as the cipher allows."""

    id: str
    direction: Direction
    bytes: int
    size: int | None
    offset: int = 0


class FileDone(Struct, frozen=True):
    """One file is complete: published at `path` (receive), or confirmed by the receiver (send)."""

    id: str
    direction: Direction
    name: str
    path: Path | None
    size: int
    seconds: float
    verified: Verification
    sha256: str | None = None


class FileFailed(Struct, frozen=True):
    """One file failed; a receiver that stays up goes on. `part` is what was kept, if anything."""

    id: str | None
    direction: Direction
    name: str | None
    error: JetError
    resumable: bool = False


class Warned(Struct, frozen=True):
    """Something the user should know that stops nothing."""

    message: str
    id: str | None = None
    hint: str = ""


class Detail(Struct, frozen=True):
    """A decision worth a line under `-v`: a candidate skipped, a fall-back, a replaced ratchet session."""

    text: str
    id: str | None = None


class Waiting(Struct, frozen=True):
    """A transfer broke and goes on by itself: the `attempt`-th try begins in `retry_in` seconds.

    `cause` is why it broke; a receiver waits for the sender to come back. Without `retry_in` somebody else is waited
    for, `until_s` seconds at most.
    """

    id: str
    direction: Direction
    cause: JetError
    attempt: int
    retry_in: float | None
    until_s: float = 0.0


Event = (
    Connected
    | Phase
    | PeerFound
    | NewDevice
    | Offered
    | Accepted
    | Declined
    | PathChosen
    | Progress
    | FileDone
    | FileFailed
    | Warned
    | Waiting
    | Detail
)

#: Receives every event, on the event loop's thread, and returns at once.
Listener = Callable[[Event], None]


class OfferSeen(Struct, frozen=True):
    """What a person is asked about: who offers what, and where it would go. `name` is already a safe local name.

    `files` is how many the sender's command has; the answer is for all of them. `bundle` is how many of them come in
    this one stream, `name` first and `size` together. `asks_on_exist`: what becomes of a file that is there already is
    part of the question.
    """

    id: str
    peer: str
    trust: Trust
    name: str
    size: int | None
    media_type: str | None
    desc: str | None
    directory: Path
    free: int
    files: int = 1
    bundle: int = 1
    asks_on_exist: bool = False


class Consent(Struct, frozen=True):
    """The answer to an offer. `name` renames the file; `always` takes all that contact offers in this run.

    `on_exist` is what becomes of a file that is there already, where that was asked.
    """

    accept: bool
    reason: str = ""
    name: str | None = None
    always: bool = False
    on_exist: OnExist | None = None
