"""What an end means: a session's end as the error that the user sees, and an error as the reason that the peer hears.

The two directions are kept side by side because they must agree: what one jet says, the other must understand.
"""

import asyncio

from msgspec import Struct

from jetcli.errors import (
    DeclinedError,
    IntegrityError,
    InterruptedTransferError,
    JetError,
    LocalFileError,
    NetworkError,
    NotResumableError,
    RemoteProtocolError,
    TrustError,
    UnavailableError,
    UnsupportedError,
)
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import SOURCE_CHANGED, UNKNOWN_TRANSFER, Reason
from jetcli.protocol.policy import shown
from jetcli.transfer.events import Direction, FileDone, FileFailed
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

#: After a broken connection the peer's own reason may still be on its way.
_LAST_WORD_S = 1.0

#: Jingle conditions (XEP-0166 section 7.4) that a RemoteProtocolError may ask for by name.
_JINGLE_CONDITIONS = frozenset(
    {
        "decline",
        "failed-application",
        "failed-transport",
        "general-error",
        "incompatible-parameters",
        "media-error",
        "security-error",
        "unsupported-applications",
        "unsupported-transports",
    }
)


#: Why an offer is not taken that its sender has taken back.
WITHDRAWN = "withdrawn by the sender"


class Broken(Struct, frozen=True):
    """A stream that did not reach its end, or that did not come about.

    `kept` says that it can be continued, `transient` that this is worth trying without asking anyone, and `moved`
    that bytes came through this time. `withdrawn`: the sender had taken its offer back before we accepted it.
    """

    error: JetError
    kept: bool = False
    transient: bool = False
    moved: bool = False
    withdrawn: bool = False


Outcome = FileDone | Broken


def failed(broken: Broken, transfer_id: str, direction: Direction, name: str) -> FileFailed:
    """Return what there is to tell of a transfer that broke for good, with the way to go on where there is one."""
    error = broken.error
    if broken.kept and not error.hint:
        error.hint = f"jet resume {transfer_id}"
    return FileFailed(transfer_id, direction, name, error, broken.kept)


def let_go(error: JetError) -> None:
    """Let go of the frames in which a failure happened, once it has been told: they hold buffers of megabytes."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


#: What a peer says that has lost the connection itself, or whose word crossed ours.
_TRANSIENT_REASONS = frozenset({"connectivity-error", "failed-transport", "timeout", "gone", "alternative-session"})
_TRANSIENT_REFUSALS = frozenset(
    {
        "conflict",
        "gone",
        "internal-server-error",
        "item-not-found",
        "recipient-unavailable",
        "remote-server-not-found",
        "remote-server-timeout",
        "resource-constraint",
        "service-unavailable",
    }
)


def is_transient(error: JetError, end: Ended | None) -> bool:
    """Say whether a failure is one of the line rather than someone's decision."""
    if end is not None and end.by_peer:
        return end.refusal in _TRANSIENT_REFUSALS or end.reason.condition in _TRANSIENT_REASONS
    return isinstance(error, InterruptedTransferError | NetworkError | UnavailableError)


def reason_for(error: JetError) -> Reason:
    """Return what the peer hears of a failure on our side; never a path or a name of this machine."""
    match error:
        case DeclinedError():
            return Reason("decline", error.message)
        case TrustError() | IntegrityError():
            return Reason("security-error", error.message)
        case RemoteProtocolError() if error.condition in _JINGLE_CONDITIONS:
            return Reason(error.condition, error.message)
        case NotResumableError():
            return Reason("failed-application", error.message, error.application)
        case UnsupportedError():
            return Reason("unsupported-transports")
        case LocalFileError():
            return Reason("media-error", error.told or "the file could not be read or stored there")
        case InterruptedTransferError() | NetworkError():
            return Reason("connectivity-error")
        case _:
            return Reason("failed-application")


def failure_of(end: Ended, peer: str, name: str, *, flowing: bool, asked: bool = False) -> JetError:
    """Return the error of a session that ended before `name` was done; both texts are ready to be shown.

    `flowing` says whether bytes had moved: what was a refusal before is an interruption after. `asked` says that it was
    us who asked the peer for the file.
    """
    if end.error is not None:
        return end.error
    if end.refusal is not None:
        return _refused(end.refusal, peer, name)
    told = f": {shown(end.reason.text)}" if end.reason.text else ""
    if end.reason.condition in {"decline", "busy"}:
        return DeclinedError(f"{peer} declined '{name}'{told}")
    if end.reason.application == UNKNOWN_TRANSFER:
        told_of = f"{peer} knows nothing of the transfer of '{name}' any more"
        return NotResumableError(told_of, application=UNKNOWN_TRANSFER)
    if end.reason.application == SOURCE_CHANGED:
        now = "changed while it was sent" if flowing else "is not what it was when its transfer began"
        return NotResumableError(f"'{name}' {now}; it has to start again", application=SOURCE_CHANGED)
    if end.reason.application == "file-not-available":
        return NotResumableError(f"{peer} has no file '{name}' for us")
    return _broken(end.reason, peer, name, told) if flowing else _refusal(end.reason, peer, name, told, asked)


def _broken(reason: Reason, peer: str, name: str, told: str) -> JetError:
    """Return the error of a transfer that the peer ended after bytes had moved."""
    if reason.condition == "security-error":
        return IntegrityError(f"{peer} received '{name}' altered and refused it{told}")
    return InterruptedTransferError(f"{peer} ended the transfer of '{name}' ({_worded(reason)}){told}")


def _refusal(reason: Reason, peer: str, name: str, told: str, asked: bool) -> JetError:
    """Return the error of an offer or a request that the peer ended before a byte had moved."""
    match reason.condition:
        case "security-error":
            return TrustError(f"{peer} could not use the encryption of '{name}'{told}")
        case "unsupported-transports" | "unsupported-applications" | "incompatible-parameters" | "failed-application":
            return UnsupportedError(f"{peer} cannot receive '{name}'{told}")
        case "media-error":
            return DeclinedError(f"{peer} cannot {'read' if asked else 'store'} '{name}'{told}")
        case "connectivity-error" | "failed-transport":
            return NetworkError(f"no usable connection to {peer}{told}")
        case _:
            return UnavailableError(f"{peer} withdrew from '{name}' ({_worded(reason)}){told}")


def _worded(reason: Reason) -> str:
    return shown(reason.condition.replace("-", " "), 40)


def _refused(condition: str, peer: str, name: str) -> JetError:
    """Return the error of an offer that was answered with a stanza error."""
    if condition in {"not-acceptable", "not-authorized", "forbidden"}:
        return TrustError(
            f"{peer} could not open the encryption of '{name}'", hint="write each other an encrypted message first"
        )
    if condition in {"feature-not-implemented", "bad-request"}:
        return UnsupportedError(f"{peer} did not understand the offer of '{name}'", hint=f"jet caps {peer}")
    if condition == "resource-constraint":
        return UnavailableError(f"{peer} is busy with other transfers", hint="try again in a minute")
    return UnavailableError(f"{peer} is not online any more ({shown(condition.replace('-', ' '), 40)})")


async def last_word(negotiation: Negotiation) -> None:
    """Wait a moment for the peer's own reason of a broken stream, and raise SessionEnded with it if it comes."""
    await asyncio.wait({negotiation.ended}, timeout=_LAST_WORD_S)
    if negotiation.ended.done() and negotiation.ended.result().by_peer:
        raise SessionEnded(negotiation.ended.result()) from None
