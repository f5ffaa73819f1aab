"""Make an account on its server (XEP-0077), for `jet login --register`.

Owns the exchange of the form and the reading of the server's refusal. It stores nothing and logs nobody in.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import aioxmpp
import aioxmpp.errors
import aioxmpp.ibr
import aioxmpp.misc
import aioxmpp.node
import aioxmpp.protocol
from aioxmpp import xso

from jetcli.errors import AuthError, NetworkError, RemoteProtocolError, UnsupportedError
from jetcli.protocol.policy import shown
from jetcli.xmpp.account import CONNECT_S, IQ_S, AccountSettings
from jetcli.xmpp.aioxmpp_fixes import finding_servers, mend, quiet
from jetcli.xmpp.ask import stanza_error
from jetcli.xmpp.failures import explain
from jetcli.xmpp.security import security_layer
from jetcli.xmpp.server import Route

GOODBYE_S = 1.0
_DATA = "jabber:x:data"
#: Fields that belong to a CAPTCHA (XEP-0158 section 4, and what servers add).
_CAPTCHA = frozenset(
    {
        "audio_recog", "ocr", "picture_q", "picture_recog", "qa", "SHA-256", "speech_q", "speech_recog", "video_q",
        "video_recog", "captcha-fallback-text", "captcha-fallback-url", "captchahidden",
    }
)  # fmt: skip

#: What a server may want besides name and password (XEP-0077 section 14.1).
_MORE = ("nick", "name", "first", "last", "email", "address", "city", "state", "zip", "phone", "url", "date", "misc")

#: Conditions of XEP-0077 section 3.1 and of servers' own rules; the rest is told as it came.
_REFUSALS = {
    "conflict": "the name is taken",
    "not-allowed": "it makes no accounts for clients",
    "forbidden": "it makes no accounts for clients",
    "service-unavailable": "it makes no accounts for clients",
    "feature-not-implemented": "it makes no accounts for clients",
    "not-acceptable": "it does not accept this name or password",
    "jid-malformed": "it does not accept this name",
    "resource-constraint": "too many accounts were made lately",
}

_INVITE_REFUSALS = {
    "forbidden": "the invitation is not valid, or has been used",
    "item-not-found": "the invitation is not valid, or has been used",
    "service-unavailable": "it takes no invitations",
    "feature-not-implemented": "it takes no invitations",
}


class _Elsewhere(xso.XSO):
    # XEP-0066: the web page where accounts are made.
    TAG = ("jabber:x:oob", "x")
    url = xso.ChildText(("jabber:x:oob", "url"), default=None)


# XEP-0445 section 4.2: the element that aioxmpp knows in presence only (XEP-0379).
aioxmpp.IQ.as_payload_class(aioxmpp.misc.Preauth)


class _Field(xso.XSO):
    # XEP-0004, as far as it is read to a person. A field without a type is one line of text.
    TAG = (_DATA, "field")
    var = xso.Attr("var", default="")
    label = xso.Attr("label", default="")
    kind = xso.Attr("type", default="")
    required = xso.ChildFlag((_DATA, "required"))
    value = xso.ChildText((_DATA, "value"), default="")

    UNKNOWN_CHILD_POLICY = xso.UnknownChildPolicy.DROP
    UNKNOWN_ATTR_POLICY = xso.UnknownAttrPolicy.DROP


class _Form(xso.XSO):
    TAG = (_DATA, "x")
    title = xso.ChildText((_DATA, "title"), default="")
    instructions = xso.ChildText((_DATA, "instructions"), default="")
    fields = xso.ChildList([_Field])

    UNKNOWN_CHILD_POLICY = xso.UnknownChildPolicy.DROP
    UNKNOWN_ATTR_POLICY = xso.UnknownAttrPolicy.DROP

    @property
    def is_captcha(self) -> bool:
        """Whether somebody has to show that they are human (XEP-0158)."""
        return any(field.value == "urn:xmpp:captcha" or field.var in _CAPTCHA for field in self.fields)

    @property
    def page(self) -> str | None:
        """Where a browser shows the CAPTCHA (XEP-0158 section 5)."""
        return next((field.value for field in self.fields if field.var == "captcha-fallback-url" and field.value), None)

    @property
    def wanted(self) -> list[str]:
        """What a person has to fill in, in the server's words."""
        asked = (f for f in self.fields if f.required and f.kind != "hidden" and f.var not in _CAPTCHA)
        fields = [field.label or field.var for field in asked if field.var not in {"username", "password"}]
        return [*fields, "a CAPTCHA"] if self.is_captcha else fields


# There can be one class for an element, and aioxmpp has it; it lacks what servers without a plain form answer.
aioxmpp.ibr.Query.elsewhere = xso.Child([_Elsewhere])
aioxmpp.ibr.Query.form = xso.Child([_Form])


async def register_account(settings: AccountSettings, *, token: str | None = None) -> None:
    """Make the account `settings.jid` with its password, where the server wants one with the `token` of an invitation.

    Raises AuthError where the server says no, UnsupportedError where it wants more than name and password (a CAPTCHA,
    a web page), and what `Connection.open` raises where it cannot be reached or believed.
    """
    async with _stream(settings) as stream:
        if token is not None:
            await _ask(stream, settings, "set", _pre_auth(token), to=settings.address.replace(localpart=None))
        _check_form(await _ask(stream, settings, "get", aioxmpp.ibr.Query()), settings)
        local = str(settings.address.localpart)
        await _ask(stream, settings, "set", aioxmpp.ibr.Query(local, settings.password))


@asynccontextmanager
async def _stream(settings: AccountSettings) -> AsyncIterator[Any]:
    mend()
    quiet(asyncio.get_running_loop())
    route = Route(settings)
    layer = security_layer(settings, None)
    try:
        with finding_servers(route.find):
            async with asyncio.timeout(CONNECT_S):
                _, stream, _ = await aioxmpp.node.connect_xmlstream(settings.address, layer)
    except (OSError, ValueError) as error:
        raise explain(error, settings) from None
    try:
        yield stream
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await stream.close_and_wait()
        route.abort()


def accept_invitation(client: aioxmpp.Client, inviter: str, token: str) -> None:
    """Become the contact of `inviter` (bare), who accepts because of the `token`; they may see us, too (XEP-0379)."""
    address = aioxmpp.JID.fromstr(inviter).bare()
    client.enqueue(aioxmpp.Presence(type_=aioxmpp.PresenceType.SUBSCRIBED, to=address))
    asking = aioxmpp.Presence(type_=aioxmpp.PresenceType.SUBSCRIBE, to=address)
    asking.xep0379_preauth = _pre_auth(token)
    client.enqueue(asking)


def _pre_auth(token: str) -> Any:
    element = aioxmpp.misc.Preauth()
    element.token = token
    return element


async def _ask(
    stream: Any,
    settings: AccountSettings,
    kind: Literal["get", "set"],
    query: Any,
    *,
    to: aioxmpp.JID | None = None,
) -> Any:
    request = aioxmpp.IQ(aioxmpp.IQType(kind), payload=query, to=to)
    request.autoset_id()
    try:
        reply = await aioxmpp.protocol.send_and_wait_for(stream, [request], [aioxmpp.IQ], timeout=IQ_S)
    except TimeoutError:
        raise NetworkError(f"{settings.domain} did not answer within {IQ_S:g} s") from None
    except OSError as error:
        raise explain(error, settings) from None
    if reply.type_ is not aioxmpp.IQType.ERROR:
        return reply.payload
    refusal = stanza_error(settings.domain, reply.error.to_exception())
    refused = _INVITE_REFUSALS if isinstance(query, aioxmpp.misc.Preauth) else _REFUSALS
    why = refused.get(refusal.condition, refusal.condition)
    said = f" ({shown(refusal.text)})" if refusal.text else ""
    raise AuthError(f"{settings.domain} did not make the account {settings.jid}: {why}{said}")


def _check_form(form: Any, settings: AccountSettings) -> None:
    if not isinstance(form, aioxmpp.ibr.Query):
        raise RemoteProtocolError(f"{settings.domain} sent no form for a new account")
    more = [field for field in _MORE if getattr(form, field) is not None]
    page, said = form.elsewhere.url if form.elsewhere is not None else None, form.instructions
    if form.form is not None:
        more += form.form.wanted
        page, said = page or form.form.page, form.form.instructions or form.form.title or said
    if form.username is not None and form.password is not None and not more:
        return
    wanted = ", ".join(shown(each, 80) for each in more) or "a form or a CAPTCHA"
    raise UnsupportedError(
        f"{settings.domain} wants more for a new account than jet can give: {shown(wanted)}",
        hint=shown(page or said or f"make the account with a chat client, then: jet login {settings.jid}"),
    )
