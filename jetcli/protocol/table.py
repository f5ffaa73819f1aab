"""What may happen when in a Jingle session: two tables that both roles read.

One table is the session's (XEP-0166 section 5), one its transport's (XEP-0260 sections 2.4 and 3). They run beside each
other, because some peers send transport-info before session-accept. What is not listed is out of order. The drawing in
ARCHITECTURE.md is made from these tables.
"""

from enum import Enum
from typing import TypeVar

from jetcli.errors import RemoteProtocolError


class State(Enum):
    """Where a session stands (XEP-0166 section 5)."""

    IDLE = "idle"
    PENDING = "pending"
    ACTIVE = "active"
    ENDED = "ended"


class Path(Enum):
    """Where the session's transport stands."""

    #: Candidates are offered; nothing is dialled before the session is active.
    GATHERING = "gathering"
    #: Each side dials the other's candidates (XEP-0260 section 2.4).
    DIALLING = "dialling"
    #: A proxy candidate is nominated; its owner activates it.
    NOMINATED = "nominated"
    #: No candidate works; the initiator proposes the in-band transport.
    REPLACING = "replacing"
    #: Both sides agree on one connection; no byte has moved.
    OPEN = "open"
    #: Bytes have moved: a transport secret serves one stream, so nothing is replaced any more.
    FLOWING = "flowing"
    #: There is no way.
    FAILED = "failed"


class Turn(Enum):
    """What can happen to a session or to its transport."""

    OFFER = "offer"
    ACCEPT = "accept"
    TERMINATE = "terminate"
    DIAL = "dial"
    NOMINATE_PROXY = "nominate a proxy"
    NOMINATE_DIRECT = "nominate a direct candidate"
    ACTIVATE = "activate"
    GIVE_UP = "give up the transport"
    REPLACE = "replace the transport"
    FIRST_BYTE = "first byte"
    FAIL = "fail"


#: (state, turn) -> next state. What is not listed is out of order.
SESSION_TABLE: dict[tuple[State, Turn], State] = {
    (State.IDLE, Turn.OFFER): State.PENDING,
    (State.PENDING, Turn.ACCEPT): State.ACTIVE,
    (State.PENDING, Turn.TERMINATE): State.ENDED,
    (State.ACTIVE, Turn.TERMINATE): State.ENDED,
}

#: The same for the transport. REPLACE agrees on the in-band transport, or is followed as responder at any time before
#: the first byte: a peer that failed to activate replaces while we still believe in the nominated candidate.
PATH_TABLE: dict[tuple[Path, Turn], Path] = {
    (Path.GATHERING, Turn.DIAL): Path.DIALLING,
    (Path.GATHERING, Turn.REPLACE): Path.OPEN,
    (Path.DIALLING, Turn.NOMINATE_PROXY): Path.NOMINATED,
    (Path.DIALLING, Turn.NOMINATE_DIRECT): Path.OPEN,
    (Path.DIALLING, Turn.GIVE_UP): Path.REPLACING,
    (Path.DIALLING, Turn.REPLACE): Path.OPEN,
    (Path.NOMINATED, Turn.ACTIVATE): Path.OPEN,
    (Path.NOMINATED, Turn.GIVE_UP): Path.REPLACING,
    (Path.NOMINATED, Turn.REPLACE): Path.OPEN,
    (Path.REPLACING, Turn.REPLACE): Path.OPEN,
    (Path.OPEN, Turn.GIVE_UP): Path.REPLACING,
    (Path.OPEN, Turn.REPLACE): Path.OPEN,
    (Path.OPEN, Turn.FIRST_BYTE): Path.FLOWING,
    **{
        (path, Turn.FAIL): Path.FAILED
        for path in (Path.GATHERING, Path.DIALLING, Path.NOMINATED, Path.REPLACING, Path.OPEN, Path.FLOWING)
    },
}

S = TypeVar("S", State, Path)


class OutOfOrderError(RemoteProtocolError):
    """The peer sent an action that the session's state does not allow (XEP-0166 section 10)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, condition="out-of-order")


def next_state(table: dict[tuple[S, Turn], S], state: S, turn: Turn) -> S:
    """Return the state after `turn`; raise OutOfOrderError where `table` does not list it."""
    try:
        return table[state, turn]
    except KeyError:
        raise OutOfOrderError(f"{turn.value} came out of order, in the state {state.value}") from None
