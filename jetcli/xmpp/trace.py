"""The stanzas of a connection as text, for `-vv` and `--log-file`: to find out why two clients do not agree.

Owns what is left out: texts of messages, tokens of invitations, passwords, and the bulk of long data. Stanzas only:
what is said before the stream is up, the login above all, never comes here, nor does the making of an account.
"""

import logging
import re
from typing import Any

import aioxmpp
import aioxmpp.xml

from jetcli.protocol.policy import shown

log = logging.getLogger("jetcli.xml")

#: Elements whose text is nobody's business, or a secret; jet itself sends none of them in a stanza but the token.
_PRIVATE = re.compile(r"(<(?:\w+:)?(body|subject|html|password|key|secret)\b[^>]*>)(.*?)(</(?:\w+:)?\2>)", re.DOTALL)
_TOKEN = re.compile(r"(\btoken=)(\"[^\"]*\"|'[^']*')")
_LONG = re.compile(r"(?<=>)[^<]{200,}(?=<)")
_LIMIT = 20_000


def trace(client: aioxmpp.Client) -> None:
    """Write every stanza of `client` to the log, where somebody reads it at DEBUG."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    stream = client.stream
    incoming, outgoing = stream._process_incoming, stream._send_stanza  # noqa: SLF001  # there is no hook for IQs

    def received(xmlstream: Any, entry: Any) -> Any:
        if entry[1] is None:
            _tell("<<", entry[0])
        return incoming(xmlstream, entry)

    def sent(xmlstream: Any, token: Any) -> Any:
        _tell(">>", token.stanza)
        return outgoing(xmlstream, token)

    stream._process_incoming, stream._send_stanza = received, sent  # noqa: SLF001


def without_secrets(xml: str) -> str:
    """Return the text of a stanza without what must not be in a log."""
    private = _PRIVATE.sub(lambda found: f"{found[1]}[{len(found[3])} characters]{found[4]}", xml)
    return _LONG.sub(lambda found: f"[{len(found[0])} characters]", _TOKEN.sub(r'\1"[secret]"', private))


def _tell(direction: str, stanza: Any) -> None:
    if isinstance(stanza, aioxmpp.stanza.StanzaBase):
        text = without_secrets(aioxmpp.xml.serialize_single_xso(stanza))
        log.debug("%s %s", direction, shown(" ".join(text.split()), _LIMIT))
