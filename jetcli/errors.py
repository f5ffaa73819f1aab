"""Every failure that jet reports on purpose, and the exit code that each one owns.

    JetError                 1  error           a bug, or a cause nobody foresaw
    ├── UsageError           2  usage           bad arguments
    ├── SetupError           3  setup           no account; configuration or state is wrong
    ├── AuthError            4  auth            login refused, or certificate not valid
    ├── NetworkError         5  network         no way to the server or to the peer
    ├── UnavailableError     6  unavailable     peer not online, or no answer in time
    ├── UnsupportedError     7  unsupported     the peer lacks something
    ├── TrustError           8  trust           unknown key, or no usable encryption
    ├── DeclinedError        9  declined        a person or a policy said no
    ├── InterruptedTransferError
    │                       10  interrupted     the transfer broke; what arrived is kept
    ├── NotResumableError   11  not-resumable   the source changed, or the part is gone
    ├── IntegrityError      12  integrity       a chunk, tag or checksum is wrong
    ├── LocalFileError      13  local-file      a file of ours cannot be read or written
    ├── PartialError        14  partial         some of several files failed
    └── RemoteProtocolError 15  protocol        the peer broke a specification

A message names the thing, then its cause: lower case, no full stop, one line. It never carries a secret, and text that
came from a peer has been through `jetcli.protocol.policy.shown` before it gets here.
"""

from typing import ClassVar, Self


class JetError(Exception):
    """Base of every failure that jet reports on purpose.

    `exit_code` is what the shell sees, `code` its name in JSON events, `retryable` whether the same command may succeed
    later. `hint` is one line that says what the user can do next, or empty.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def saying(self, message: str) -> Self:
        """Return a failure that is like this one but for its message: the same trouble, of one more thing."""
        # Subclasses are not all made from a message, and copy.copy would call them with one.
        other = type(self).__new__(type(self), message)
        other.__dict__ |= self.__dict__ | {"message": message}
        return other


class UsageError(JetError):
    """The command line does not say what to do."""

    exit_code = 2
    code = "usage"


class SetupError(JetError):
    """There is no account, or its configuration or state cannot be used."""

    exit_code = 3
    code = "setup"


class AuthError(JetError):
    """The server refused the login, or could not prove who it is."""

    exit_code = 4
    code = "auth"


class NetworkError(JetError):
    """The server, or every path to the peer, is out of reach; nothing was transferred."""

    exit_code = 5
    code = "network"
    retryable = True


class UnavailableError(JetError):
    """The peer is not online, or did not answer in time."""

    exit_code = 6
    code = "unavailable"
    retryable = True


class UnsupportedError(JetError):
    """The peer's client lacks something that the transfer needs."""

    exit_code = 7
    code = "unsupported"


class TrustError(JetError):
    """A key is unknown, changed or not trusted, or an offer has no usable encryption."""

    exit_code = 8
    code = "trust"


class DeclinedError(JetError):
    """A person or a policy said no."""

    exit_code = 9
    code = "declined"


class InterruptedTransferError(JetError):
    """The transfer broke; what arrived is kept where it can be resumed."""

    exit_code = 10
    code = "interrupted"
    retryable = True


class NotResumableError(JetError):
    """The transfer cannot continue: source changed, no ranges at the peer, or the part is gone.

    `application` is the condition of jet's own or of XEP-0234 that the peer hears beside `failed-application`.
    """

    exit_code = 11
    code = "not-resumable"

    def __init__(self, message: str, *, application: str | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.application = application


class NobodyResumesError(NotResumableError):
    """None of those who are online now can continue the transfer; whoever comes online later may."""


class IntegrityError(JetError):
    """A chunk, the tag or the checksum is wrong; nothing unverified was published."""

    exit_code = 12
    code = "integrity"


class LocalFileError(JetError):
    """A file of ours is missing, unreadable, in the way, or changed while it was sent.

    `told` is what the peer may hear of it: the kind of trouble, and nothing of this machine.
    """

    exit_code = 13
    code = "local-file"

    def __init__(self, message: str, *, told: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.told = told


class ClosedOutputError(LocalFileError):
    """Nobody reads standard output any more; the code is that of a program that SIGPIPE ends."""

    exit_code = 141


class PartialError(JetError):
    """Some of several files failed."""

    exit_code = 14
    code = "partial"


class RemoteProtocolError(JetError):
    """The peer broke a specification.

    `condition` is the Jingle reason (XEP-0166 section 7.4) to answer with.
    """

    exit_code = 15
    code = "protocol"

    def __init__(self, message: str, *, condition: str = "general-error", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.condition = condition
