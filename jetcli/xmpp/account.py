"""What jet knows of an account when it goes online, as a value. Where it is kept is not known here."""

from dataclasses import dataclass, field
from pathlib import Path

import aioxmpp

from jetcli.errors import UsageError
from jetcli.protocol.jid import parse_jid
from jetcli.protocol.policy import shown
from jetcli.protocol.scram import ScramKeys

#: Deadlines of design.md, in seconds.
CONNECT_S = 30.0
LOGIN_S = 30.0
IQ_S = 30.0


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """How to log in as `jid` (bare).

    `server` is the only host and port that is tried; None finds the domain's servers by DNS SRV, and `direct_tls`
    then does not count (XEP-0368). `ca_file` replaces the system's authorities, `pin` (SHA-256 of the public key, hex
    or base64) replaces the check of the certificate. PLAIN is used only with `allow_plain`, and never with
    `scram_used_before`. Where `keys` stand in for the password it is empty.
    """

    jid: str
    password: str = field(repr=False)
    server: tuple[str, int] | None = None
    direct_tls: bool = False
    ca_file: Path | None = None
    pin: str | None = None
    allow_plain: bool = False
    scram_used_before: bool = False
    keys: ScramKeys | None = None

    @property
    def address(self) -> aioxmpp.JID:
        """The bare JID as aioxmpp prepares it; raises UsageError where it is none."""
        address = parsed_jid(self.jid).bare()
        try:
            ours = parse_jid(self.jid)
        except ValueError:
            raise _not_valid(self.jid) from None
        if ours.local is None:
            raise _not_valid(self.jid)
        return address

    @property
    def domain(self) -> str:
        """The domain that the server must prove to be."""
        return str(self.address.domain)


def parsed_jid(text: str) -> aioxmpp.JID:
    """Return `text` as aioxmpp's JID; raise UsageError where it is not a valid address."""
    try:
        return aioxmpp.JID.fromstr(text)
    except ValueError:
        raise _not_valid(text) from None


def _not_valid(text: str) -> UsageError:
    return UsageError(f"'{shown(text)}' is not a valid address")
