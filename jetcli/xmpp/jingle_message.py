"""Proposals before a session (XEP-0353): how someone is reached whose devices cannot be seen.

A proposal goes to a bare JID, whoever wants the session answers `proceed` from a full JID, and a session-initiate with
the proposal's id follows to that. One that continues a transfer says which, as its session will. Owns the messages; who
is let in is decided by whoever listens. What the server kept for us while we were offline is not answered: who proposed
that has given up long ago.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import aioxmpp
import aioxmpp.carbons.xso
import aioxmpp.misc
import aioxmpp.service
from aioxmpp import xso

from jetcli.errors import DeclinedError, NetworkError, UnavailableError
from jetcli.protocol.flood import STANZA_BURST, STANZAS_PER_S, PeerBuckets
from jetcli.protocol.model import NS_FILE_TRANSFER, NS_JINGLE_MESSAGE
from jetcli.protocol.policy import MAX_SID, shown
from jetcli.xmpp.account import parsed_jid
from jetcli.xmpp.payloads import Transfer

#: Proposals that are remembered, so that none is answered twice: a carbon repeats what came directly.
_REMEMBERED = 256


class _Proposed(xso.XSO):
    TAG = (NS_FILE_TRANSFER, "description")
    rest = xso.Collector()


class Propose(xso.XSO):
    """`<propose/>` (XEP-0353 section 3.1)."""

    TAG = (NS_JINGLE_MESSAGE, "propose")
    id_ = xso.Attr("id", default=None)
    description = xso.Child([_Proposed])
    transfer = xso.Child([Transfer])
    rest = xso.Collector()


class Proceed(xso.XSO):
    """`<proceed/>`: the session is wanted, by the full JID that this comes from."""

    TAG = (NS_JINGLE_MESSAGE, "proceed")
    id_ = xso.Attr("id", default=None)
    rest = xso.Collector()


class Reject(xso.XSO):
    """`<reject/>`: the session is not wanted."""

    TAG = (NS_JINGLE_MESSAGE, "reject")
    id_ = xso.Attr("id", default=None)
    rest = xso.Collector()


class Retract(xso.XSO):
    """`<retract/>`: the proposal does not stand any more."""

    TAG = (NS_JINGLE_MESSAGE, "retract")
    id_ = xso.Attr("id", default=None)
    rest = xso.Collector()


# Bound once: aioxmpp can neither unbind a descriptor nor have two classes for one tag.
aioxmpp.Message.xep0353_jingle_message = xso.Child([Propose, Proceed, Reject, Retract])

#: Told of a proposal of files: the full JID that made it and its id.
OnProposal = Callable[[str, str], None]
#: Told of a proposal to continue a transfer: the same, and the sid of its first session.
OnContinuation = Callable[[str, str, str], None]


class JingleMessages(aioxmpp.service.Service):
    """The proposals of one client, ours and those made to us.

    Set `on_proposal` and `on_continuation` to hear of the latter.
    """

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self.on_proposal: OnProposal | None = None
        self.on_continuation: OnContinuation | None = None
        self._ours: dict[tuple[str, str], asyncio.Future[str]] = {}
        self._theirs: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._buckets = PeerBuckets(STANZA_BURST, STANZAS_PER_S)

    async def propose(self, bare_jid: str, timeout_s: float, *, transfer: str | None = None) -> tuple[str, str]:
        """Propose to send files; return the full JID that wants them and the id for the session with it.

        `transfer` is the sid of the first session of what is to be continued.

        Raises DeclinedError where they are not wanted, UnavailableError without an answer in time, NetworkError when
        the stream is gone. A proposal that is given up is retracted.
        """
        sid = secrets.token_hex(8)
        answer = self._ours[bare_jid, sid] = asyncio.get_running_loop().create_future()
        proposal = Propose()
        proposal.id_, proposal.description = sid, _Proposed()
        if transfer is not None:
            proposal.transfer = Transfer()
            proposal.transfer.sid = transfer
        agreed = False
        try:
            await self._send(bare_jid, proposal)
            async with asyncio.timeout(timeout_s):
                full_jid = await asyncio.shield(answer)
            agreed = True
            return full_jid, sid
        except TimeoutError:
            raise UnavailableError(f"no device of {shown(bare_jid)} answered within {timeout_s:g} s") from None
        finally:
            del self._ours[bare_jid, sid]
            if not (agreed or answer.done()):
                await self.retract(bare_jid, sid)

    async def retract(self, to: str, sid: str) -> None:
        """Take a proposal of ours back."""
        retraction = Retract()
        retraction.id_ = sid
        await self._send(to, retraction)

    async def proceed(self, full_jid: str, sid: str) -> None:
        """Answer a proposal: its session is wanted, here."""
        answer = Proceed()
        answer.id_ = sid
        await self._send(full_jid, answer)

    async def reject(self, full_jid: str, sid: str) -> None:
        """Answer a proposal: its session is not wanted."""
        answer = Reject()
        answer.id_ = sid
        await self._send(full_jid, answer)

    async def _send(self, to: str, payload: Any) -> None:
        message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=parsed_jid(to))
        message.xep0353_jingle_message = payload
        try:
            await self.client.send(message)
        except (OSError, RuntimeError):
            raise NetworkError(f"connection lost before a proposal to {shown(to)} went out") from None

    @aioxmpp.service.inbound_message_filter
    def _watch(self, message: Any) -> Any:
        """Take what is said of proposals; every message goes on to the others unchanged."""
        inner = self._unwrap(message)
        if inner is not None and inner.from_ is not None and inner.type_ is not aioxmpp.MessageType.ERROR:
            said = inner.xep0353_jingle_message
            if said is not None and said.id_ and len(said.id_) <= MAX_SID:
                self._take(str(inner.from_), said)
        return message

    def _unwrap(self, message: Any) -> Any:
        """Return the message itself, taken out of a carbon that our own server made; None for what was kept for us."""
        own = self.client.local_jid.bare()
        inner = message
        if message.xep0280_received is not None:
            inner = message.xep0280_received.stanza
            if (message.from_ or own) != own or not isinstance(inner, aioxmpp.Message):
                return None
        elif message.xep0280_sent is not None:
            return None
        return None if inner.xep0203_delay or message.xep0203_delay else inner

    def _take(self, full_jid: str, said: Any) -> None:
        bare_jid = full_jid.partition("/")[0]
        if bare_jid == full_jid:
            return
        answered = self._ours.get((bare_jid, said.id_))
        match said:
            case Proceed() if answered is not None and not answered.done():
                answered.set_result(full_jid)
            case Reject() if answered is not None and not answered.done():
                answered.set_exception(DeclinedError(f"{shown(bare_jid)} does not want it"))
            case Retract():
                self._theirs.pop((full_jid, said.id_), None)
            case Propose() if said.description is not None:
                self._proposed(full_jid, said)

    def _proposed(self, full_jid: str, said: Propose) -> None:
        bare_jid, sid = full_jid.partition("/")[0], said.id_
        tell = self.on_proposal
        if said.transfer is not None:
            tell = self._continuation(said.transfer.sid)
        if tell is None or (full_jid, sid) in self._theirs:
            return
        if not self._buckets.take(bare_jid, asyncio.get_running_loop().time()):
            return
        self._theirs[full_jid, sid] = None
        if len(self._theirs) > _REMEMBERED:
            self._theirs.popitem(last=False)
        tell(full_jid, sid)

    def _continuation(self, transfer: str | None) -> OnProposal | None:
        """Return who hears of a proposal to continue `transfer`; None where nobody does."""
        tell = self.on_continuation
        if tell is None or not transfer or len(transfer) > MAX_SID:
            return None
        return lambda full_jid, sid: tell(full_jid, sid, transfer)
