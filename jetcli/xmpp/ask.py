"""One question to one address, with a deadline; the only door through which stanza errors leave this layer."""

import asyncio
from typing import Any, Literal

import aioxmpp
import aioxmpp.errors

from jetcli.errors import NetworkError, RemoteProtocolError, UnavailableError
from jetcli.protocol.policy import shown
from jetcli.xmpp.account import IQ_S, parsed_jid


class StanzaError(UnavailableError):
    """The other side answered with an error (RFC 6120 section 8.3).

    `condition` is the name of the defined condition ("item-not-found"), `text` the peer's own words as they came, or
    None, `application` the name of the application's condition, or None where there is none that jet knows.
    """

    def __init__(self, sender: str, condition: str, text: str | None, application: str | None) -> None:
        said = f" ({shown(text)})" if text else ""
        super().__init__(f"{shown(sender)} answered {application or condition}{said}")
        self.condition = condition
        self.text = text
        self.application = application


async def ask(
    client: aioxmpp.Client,
    payload: Any,
    to: str | aioxmpp.JID | None,
    timeout_s: float = IQ_S,
    *,
    kind: Literal["get", "set"] = "get",
) -> Any:
    """Send an IQ and return the payload of its result, or None; `to` None asks our own account.

    Waits `timeout_s` in all, also while the stream is being resumed. Raises StanzaError for an error answer,
    UnavailableError without an answer, NetworkError where the stream was lost for good, RemoteProtocolError where the
    answer cannot be read.
    """
    address = parsed_jid(to) if isinstance(to, str) else to
    who = shown(str(address or client.local_jid.bare()))
    request = aioxmpp.IQ(aioxmpp.IQType(kind), to=address, payload=payload)
    try:
        async with asyncio.timeout(timeout_s):
            await client.established_event.wait()
            return await client.send(request)
    except TimeoutError:
        raise UnavailableError(f"{who} did not answer within {timeout_s:g} s") from None
    except aioxmpp.errors.XMPPError as error:
        raise stanza_error(who, error) from None
    except aioxmpp.errors.ErroneousStanza:
        raise RemoteProtocolError(f"{who} sent an answer that cannot be read") from None
    except (OSError, RuntimeError):
        # RuntimeError is aioxmpp's for a stanza that was dropped or aborted when the stream went away.
        raise NetworkError(f"connection lost before {who} answered") from None


def stanza_error(sender: str, error: aioxmpp.errors.XMPPError) -> StanzaError:
    """Return the error that `sender` answered with as one of ours."""
    application = error.application_defined_condition
    name = None if application is None else str(application.TAG[1])
    return StanzaError(sender, str(error.condition.value[1]), error.text, name)
