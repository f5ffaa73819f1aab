"""What can be asked of a server about itself and our account, for `jet doctor`.

Owns the questions and the reading of the answers; whether an answer is good or bad is judged by who asked.
"""

from datetime import UTC, datetime
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.pubsub.xso as pubsub
from aioxmpp import xso

from jetcli.errors import RemoteProtocolError
from jetcli.xmpp.ask import StanzaError, ask

_ANSWER_S = 5.0
_ACCESS_MODEL = "pubsub#access_model"


@aioxmpp.IQ.as_payload_class
class EntityTime(xso.XSO):
    """`<time/>`: what time another entity has (XEP-0202)."""

    TAG = ("urn:xmpp:time", "time")

    offset = xso.ChildText(("urn:xmpp:time", "tzo"), default=None)
    utc = xso.ChildText(("urn:xmpp:time", "utc"), default=None)


async def server_features(client: aioxmpp.Client) -> frozenset[str]:
    """Return what the server of our account says that it can do (XEP-0030)."""
    return (await _about(client, client.local_jid.replace(localpart=None, resource=None)))[0]


async def keeps_personal_events(client: aioxmpp.Client) -> tuple[bool, frozenset[str]]:
    """Return whether our account is a PEP service (XEP-0163 section 6.1), and its features."""
    features, identities = await _about(client, client.local_jid.bare())
    return ("pubsub", "pep") in identities, features


def resumes_streams(client: aioxmpp.Client) -> bool:
    """Return whether a broken stream would be resumed (XEP-0198)."""
    return bool(client.stream.sm_enabled and client.stream.sm_resumable)


async def access_model(client: aioxmpp.Client, node: str) -> str | None:
    """Return who may read a PEP node of ours ("open", "presence"), None where the server does not tell.

    Raises StanzaError where there is no such node, UnavailableError or NetworkError without an answer.
    """
    try:
        answer = await ask(client, pubsub.OwnerRequest(pubsub.OwnerConfigure(node=node)), None, _ANSWER_S)
    except StanzaError as error:
        if error.condition == "item-not-found":
            raise
        return None
    form = getattr(getattr(answer, "payload", None), "data", None)
    if form is None:
        raise RemoteProtocolError("the server sent no configuration of a node")
    return next((str(field.values[0]) for field in form.fields if field.var == _ACCESS_MODEL and field.values), None)


async def server_time(client: aioxmpp.Client) -> datetime | None:
    """Return the clock of our server (XEP-0202), None where it tells none."""
    try:
        answer = await ask(client, EntityTime(), client.local_jid.replace(localpart=None, resource=None), _ANSWER_S)
        return datetime.fromisoformat(answer.utc).astimezone(UTC)
    except (StanzaError, AttributeError, TypeError, ValueError):
        return None


async def _about(client: aioxmpp.Client, jid: aioxmpp.JID) -> tuple[frozenset[str], set[tuple[str, str]]]:
    answer: Any = await ask(client, aioxmpp.disco.xso.InfoQuery(), jid, _ANSWER_S)
    if not isinstance(answer, aioxmpp.disco.xso.InfoQuery):
        raise RemoteProtocolError("the server sent an empty answer to disco#info")
    return frozenset(answer.features), {(each.category, each.type_) for each in answer.identities}
