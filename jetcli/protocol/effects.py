"""What the session machine wants done: values that `jetcli.xmpp.jingle` performs and hands back results for.

Deadlines are effects too: the machine reads no clock, and a test passes time by saying which deadline passed.
"""

from enum import Enum

from msgspec import Struct

from jetcli.errors import JetError
from jetcli.protocol.model import Action, Candidate, Content, InbandTransport, Reason, SessionNote


class Wait(Enum):
    """The waits that have a deadline; the text completes "no answer: ..."."""

    ACCEPTANCE = "the offer was not answered"
    CANDIDATES = "the peer did not say which address it reached"
    ACTIVATION = "the proxy was not activated"
    REPLACEMENT = "no other way was agreed"
    CONFIRMATION = "the receiver did not confirm the file"


class Limits(Struct, frozen=True):
    """Deadlines in seconds (design: Deadlines)."""

    acceptance_s: float = 600.0
    candidates_s: float = 30.0
    activation_s: float = 30.0
    replacement_s: float = 30.0
    confirmation_s: float = 60.0


class Send(Struct, frozen=True):
    """Send this action to the peer in an IQ."""

    action: Action


class StartDeadline(Struct, frozen=True):
    """Call `deadline_passed(wait)` after `seconds`; a running deadline of that wait starts anew."""

    wait: Wait
    seconds: float


class StopDeadline(Struct, frozen=True):
    """Forget the deadline of `wait`."""

    wait: Wait


class Dial(Struct, frozen=True):
    """Dial these candidates of the peer, best first, and report with `dialled`."""

    transport_sid: str
    candidates: tuple[Candidate, ...]
    dstaddr: str | None


class DialAbove(Struct, frozen=True):
    """The peer reached us at `priority`: candidates below it cannot win and need not be dialled."""

    priority: int


class Activate(Struct, frozen=True):
    """Connect to our own proxy candidate, activate it for the peer, and report with `activated`."""

    transport_sid: str
    candidate: Candidate


class UseSocks5(Struct, frozen=True):
    """The connection for the bytes: `candidate` is ours when `owned`, else the one that we dialled."""

    candidate: Candidate
    owned: bool


class UseInband(Struct, frozen=True):
    """The bytes go in-band; the session's initiator opens the bytestream (XEP-0261 section 2)."""

    transport: InbandTransport
    open_it: bool


class DropTransport(Struct, frozen=True):
    """Close every socket of the transport that was given up."""


class Offered(Struct, frozen=True):
    """The peer's session-initiate has arrived."""

    content: Content


class Accepted(Struct, frozen=True):
    """The peer accepted; its content carries the agreed range, if any."""

    content: Content


class Noted(Struct, frozen=True):
    """A checksum, a confirmation or a sign of life has arrived."""

    note: SessionNote


class Ended(Struct, frozen=True):
    """The session is over.

    `error` is set where it ended for a cause of our own, `refusal` where the peer answered with that stanza error.
    """

    reason: Reason
    by_peer: bool
    error: JetError | None = None
    refusal: str | None = None


Effect = (
    Send
    | StartDeadline
    | StopDeadline
    | Dial
    | DialAbove
    | Activate
    | UseSocks5
    | UseInband
    | DropTransport
    | Offered
    | Accepted
    | Noted
    | Ended
)
