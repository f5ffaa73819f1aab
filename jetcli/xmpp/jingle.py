"""Routes Jingle stanzas to sessions, and makes new ones.

A session is found by the full JID that the server stamped on the stanza and by the session id; Jingle inside carbons or
forwarded messages never gets here. Every request is answered at once; what it means is worked out afterwards. Ended
sessions are remembered for a while, because a checksum or a confirmation may cross the end on the wire.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable

import aioxmpp
from msgspec import Struct, field

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.effects import Limits
from jetcli.protocol.flood import STANZA_BURST, STANZAS_PER_S, PeerBuckets
from jetcli.protocol.model import Action, Content, InbandTransport, Initiate, SessionInfo, Terminate, Unknown
from jetcli.protocol.offer import is_request, yields
from jetcli.protocol.policy import MAX_SESSIONS, shown
from jetcli.protocol.session import Session
from jetcli.protocol.table import State
from jetcli.xmpp import payloads, socks5
from jetcli.xmpp.ask import ask
from jetcli.xmpp.candidates import Candidates, Reach
from jetcli.xmpp.channel import IDLE_S
from jetcli.xmpp.inband import InbandChannel, InbandService
from jetcli.xmpp.jingle_reader import read
from jetcli.xmpp.jingle_writer import write
from jetcli.xmpp.listener import SharedPorts
from jetcli.xmpp.negotiation import Negotiation

#: The block size that jet proposes and accepts in-band: the greatest that XEP-0047 allows.
BLOCK_SIZE = 65535
_REMEMBERED = 64

#: Told of a new offer; it must return at once and may later accept or terminate the negotiation.
OnOffer = Callable[[Negotiation], None]


class Terms(Struct, frozen=True):
    """What holds for one session: the ways, whether in-band is one of them, where its numbering starts anew.

    `idle_s` is how long its bytes may stand still.
    """

    reach: Reach
    inband: bool = True
    seq_modulo: int = 65536
    idle_s: float = IDLE_S
    limits: Limits = field(default_factory=Limits)


class JingleService:
    """The Jingle sessions of one connection; `terms_of` says what holds towards a full JID.

    Made before the client starts, so that nobody's offer is missed. One that does not `receive` takes only
    what continues or requests a file.
    """

    def __init__(
        self,
        client: aioxmpp.Client,
        *,
        inband: InbandService,
        terms_of: Callable[[str], Terms],
        told: Callable[[str], None],
        on_offer: OnOffer,
        receives: bool,
    ) -> None:
        self._client = client
        self._inband = inband
        self._terms_of = terms_of
        self._told = told
        self._ports = SharedPorts()
        self._on_offer = on_offer
        self._receives = receives
        self._sessions: dict[tuple[str, str], Negotiation] = {}
        self._ended: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._strangers = PeerBuckets(STANZA_BURST, STANZAS_PER_S)
        client.stream.register_iq_request_handler(aioxmpp.IQType.SET, payloads.Jingle, self._on_iq)

    @property
    def _me(self) -> str:
        return str(self._client.local_jid)

    def negotiate(self, peer: str, terms: Terms, sid: str | None = None) -> Negotiation:
        """Return a new session with `peer` (full JID), to be offered; a `sid` that has been used gives way to another.

        So the first of several offers takes the id that was proposed for them.
        """
        used = sid is not None and ((peer, sid) in self._sessions or (peer, sid) in self._ended)
        sid = secrets.token_hex(8) if sid is None or used else sid
        inband = InbandTransport(secrets.token_hex(8), BLOCK_SIZE) if terms.inband else None
        session = Session(sid, self._me, peer, inband=inband, limits=terms.limits)
        candidates = Candidates(
            self._me,
            peer,
            terms.reach,
            activate_proxy=self._activate_proxy,
            told=self._told,
            ports=self._ports,
            idle_s=terms.idle_s,
        )

        async def deliver(action: Action) -> None:
            await ask(self._client, write(action), peer, kind="set")

        async def open_inband(transport: InbandTransport, open_it: bool) -> InbandChannel:
            return await self._inband.open(
                peer, transport, open_it=open_it, seq_modulo=terms.seq_modulo, idle_s=terms.idle_s
            )

        negotiation = Negotiation(session, candidates, deliver, open_inband)
        key = (peer, sid)
        self._sessions[key] = negotiation
        negotiation.ended.add_done_callback(lambda _: self._forget(key))
        return negotiation

    async def close(self) -> None:
        """End every session and let the last stanzas out, for a second at most."""
        await asyncio.gather(*(negotiation.close() for negotiation in list(self._sessions.values())))

    def _forget(self, key: tuple[str, str]) -> None:
        self._sessions.pop(key, None)
        self._ended[key] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    async def _activate_proxy(self, proxy_jid: str, transport_sid: str, peer: str) -> None:
        await socks5.activate(self._client, proxy_jid, transport_sid, peer)

    # Stanzas.

    async def _on_iq(self, iq: aioxmpp.IQ) -> None:
        """Take one Jingle request; what it raises is the error that the peer gets."""
        peer = str(iq.from_)
        try:
            self._route(peer, read(iq.payload))
        except RemoteProtocolError as error:
            self._told(f"{shown(peer)}: {error.message}")
            raise _stanza_error(error) from None

    def _route(self, peer: str, action: Action) -> None:
        key = (peer, action.sid)
        negotiation = self._sessions.get(key)
        if negotiation is not None and not isinstance(action, Initiate):
            if isinstance(action, SessionInfo) and isinstance(action.note, Unknown):
                raise RemoteProtocolError("session-info that jet does not know", condition="unsupported-info")
            negotiation.receive(action)
        elif key in self._ended and isinstance(action, SessionInfo | Terminate):
            return
        elif not self._strangers.take(_bare(peer), asyncio.get_running_loop().time()):
            raise RemoteProtocolError("too many requests", condition="resource-constraint")
        elif isinstance(action, Initiate):
            self._offered(key, action)
        else:
            raise RemoteProtocolError("no session has that id", condition="item-not-found")

    def _offered(self, key: tuple[str, str], action: Initiate) -> None:
        peer, sid = key
        if key in self._sessions or key in self._ended:
            raise RemoteProtocolError("a session has that id already", condition="conflict")
        if not (self._receives or is_request(action.content) or action.content.transfer):
            raise RemoteProtocolError("nothing is received here", condition="service-unavailable")
        if len(self._sessions) >= MAX_SESSIONS:
            raise RemoteProtocolError("too many sessions", condition="resource-constraint")
        if rival := self._pending_offer(peer, action.content):
            ours = Initiate(rival.session.sid, rival.session.offer)
            if not yields(ours, self._me, action, peer):
                raise RemoteProtocolError("the same file is being offered to you", condition="tie-break")
        negotiation = self.negotiate(peer, self._terms_of(peer), sid)
        try:
            negotiation.receive(action)
        except RemoteProtocolError:
            del self._sessions[key]
            raise
        # Only what comes outside accepted sessions counts: one command may offer hundreds of small files.
        negotiation.on_accepted = lambda: self._strangers.give_back(_bare(peer))
        self._on_offer(negotiation)

    def _pending_offer(self, peer: str, content: Content) -> Negotiation | None:
        """Return our own unanswered offer of the same file to that peer, if there is one."""
        for (whom, _), negotiation in self._sessions.items():
            session = negotiation.session
            if whom == peer and session.initiator and session.state is State.PENDING:
                ours, theirs = session.offer.description, content.description
                if ours and theirs and (ours.name, ours.size) == (theirs.name, theirs.size):
                    return negotiation
        return None


def _bare(jid: str) -> str:
    return jid.partition("/")[0]


#: Our condition -> the stanza error's condition and application condition (XEP-0166 section 10).
_CONDITIONS: dict[str, tuple[aioxmpp.ErrorCondition, type | None]] = {
    "item-not-found": (aioxmpp.ErrorCondition.ITEM_NOT_FOUND, payloads.UnknownSession),
    "out-of-order": (aioxmpp.ErrorCondition.UNEXPECTED_REQUEST, payloads.OutOfOrder),
    "tie-break": (aioxmpp.ErrorCondition.CONFLICT, payloads.TieBreak),
    "conflict": (aioxmpp.ErrorCondition.CONFLICT, None),
    "unsupported-info": (aioxmpp.ErrorCondition.FEATURE_NOT_IMPLEMENTED, payloads.UnsupportedInfo),
    "unsupported-action": (aioxmpp.ErrorCondition.FEATURE_NOT_IMPLEMENTED, None),
    "service-unavailable": (aioxmpp.ErrorCondition.SERVICE_UNAVAILABLE, None),
    "resource-constraint": (aioxmpp.ErrorCondition.RESOURCE_CONSTRAINT, None),
}
_BAD_REQUEST = (aioxmpp.ErrorCondition.BAD_REQUEST, None)
_WAIT = {"out-of-order", "resource-constraint"}


def _stanza_error(error: RemoteProtocolError) -> aioxmpp.errors.XMPPError:
    condition, application = _CONDITIONS.get(error.condition, _BAD_REQUEST)
    kind = aioxmpp.errors.XMPPWaitError if error.condition in _WAIT else aioxmpp.errors.XMPPCancelError
    return kind(condition, text=error.message, application_defined_condition=application and application())
