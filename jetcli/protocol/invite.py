"""Invitations as addresses: to an account on a server, or to be somebody's contact (XEP-0401, XEP-0379). Pure text."""

from typing import Literal
from urllib.parse import unquote

from msgspec import Struct

from jetcli.protocol.jid import parse_jid

_ACTIONS: dict[str, Literal["register", "roster"]] = {"register": "register", "roster": "roster"}


class Invite(Struct, frozen=True):
    """An invitation; `token` is a secret that can be used once.

    For "register", `jid` is the account to make, or the server where its name is free to choose. For "roster" it is who
    invites, and `registers` says whether the token also makes an account on their server.
    """

    action: Literal["register", "roster"]
    jid: str
    token: str
    registers: bool

    @property
    def domain(self) -> str:
        """The server that the invitation comes from."""
        return self.jid.rpartition("@")[2]

    @property
    def local(self) -> str | None:
        """The local part of `jid`, None where it names a server."""
        return self.jid.rpartition("@")[0] or None


def parse_invite(text: str) -> Invite:
    """Return what an `xmpp:` address invites to; raise ValueError where it invites to nothing that jet knows."""
    address, _, query = text.strip().removeprefix("xmpp:").partition("?")
    action, *pairs = query.split(";")
    values = {name: unquote(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    token = values.get("preauth", "")
    if not text.strip().startswith("xmpp:") or action not in _ACTIONS or not token:
        raise ValueError("not an invitation such as xmpp:server.example?register;preauth=TOKEN")
    jid = str(parse_jid(unquote(address)).bare)
    if action == "roster" and "@" not in jid:
        raise ValueError("the invitation does not say from whom it is")
    return Invite(_ACTIONS[action], jid, token, action == "register" or values.get("ibr") == "y")
