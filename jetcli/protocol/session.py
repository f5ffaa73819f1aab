"""The Jingle session machine (XEP-0166) with its SOCKS5 and in-band transports (XEP-0260, XEP-0261).

Actions and local verbs go in, effects come out: this module sends nothing, waits for nothing and reads no clock. What
may happen when is in `jetcli.protocol.table`; an input that is not listed there is out of order: it raises and changes
nothing.

A candidate-used that comes before session-accept (XEP-0166 forbids it, some peers send it) is kept until dialling
begins. What an offer must look like is in `jetcli.protocol.offer`; `jetcli.xmpp.jingle` performs the effects.
"""

from jetcli.errors import InterruptedTransferError, JetError, NetworkError, RemoteProtocolError, UnavailableError
from jetcli.protocol import effects as fx
from jetcli.protocol.effects import Effect, Limits, Wait
from jetcli.protocol.model import (
    Accept,
    Action,
    Activated,
    Candidate,
    CandidateError,
    CandidateType,
    CandidateUsed,
    Content,
    InbandTransport,
    Initiate,
    Ping,
    ProxyError,
    Reason,
    SessionInfo,
    SessionNote,
    Socks5Transport,
    Terminate,
    Transport,
    TransportAccept,
    TransportInfo,
    TransportNote,
    TransportReject,
    TransportReplace,
    UnknownTransport,
)
from jetcli.protocol.policy import shown
from jetcli.protocol.selection import Nominee, Selection
from jetcli.protocol.table import PATH_TABLE, SESSION_TABLE, OutOfOrderError, Path, State, Turn, next_state


class Session:
    """One side of one Jingle session that carries one file.

    `me` and `peer` are full JIDs. `inband` is the transport to fall back to, or None where in-band is not allowed; its
    sid is chosen by the caller, since this module makes no random numbers.
    """

    def __init__(
        self, sid: str, me: str, peer: str, *, inband: InbandTransport | None = None, limits: Limits | None = None
    ) -> None:
        self.sid = sid
        self.me = me
        self.peer = peer
        self.state = State.IDLE
        self.path = Path.GATHERING
        self.initiator = False
        self._inband = inband
        self._limits = limits or Limits()
        self._offer: Content | None = None
        self._ours: Transport | None = None
        self._theirs: Transport | None = None
        self._selection = Selection((), initiator=False)
        self._confirming = False

    @property
    def offer(self) -> Content:
        """The content of the session-initiate, whoever sent it."""
        assert self._offer is not None, "a session has an offer from its first action on"
        return self._offer

    # Local verbs.

    def initiate(self, content: Content) -> list[Effect]:
        """Offer `content` to the peer."""
        self._advance(Turn.OFFER)
        self.initiator = True
        self._offer = content
        self._offer_transport(content.transport)
        return [
            fx.Send(Initiate(self.sid, content, self.me)),
            fx.StartDeadline(Wait.ACCEPTANCE, self._limits.acceptance_s),
        ]

    def accept(self, content: Content) -> list[Effect]:
        """Accept the peer's offer with our transport and the agreed range."""
        if self.initiator:
            raise OutOfOrderError("the initiator of a session cannot accept it")
        self._advance(Turn.ACCEPT)
        self._offer_transport(content.transport)
        return [fx.Send(Accept(self.sid, content, self.me)), *self._start_transport()]

    def dialled(self, candidate: Candidate | None) -> list[Effect]:
        """Report the peer's candidate that we reached, or None when there is none."""
        if self.path is not Path.DIALLING or self._selection.dialled:
            return []
        self._selection.dial_ended(candidate)
        note = CandidateUsed(candidate.cid) if candidate else CandidateError()
        return [self._tell(note), *self._nominate()]

    def activated(self, succeeded: bool) -> list[Effect]:
        """Report whether our own nominated proxy candidate is connected and activated."""
        if self.path is not Path.NOMINATED:
            return []
        nominee = self._selection.verdict()
        if not succeeded or nominee is None:
            return [self._tell(ProxyError()), *self._give_up()]
        return [self._tell(Activated(nominee.candidate.cid)), *self._use(nominee)]

    def first_byte(self) -> list[Effect]:
        """Note that bytes move: from now on the transport cannot be replaced."""
        if self.path is Path.OPEN:
            self._move(Turn.FIRST_BYTE)
        return []

    def connection_failed(self) -> list[Effect]:
        """Report that the agreed connection broke, or never came, before its first byte."""
        return self._give_up() if self.path is Path.OPEN and self._on_socks5() else []

    def inform(self, note: SessionNote) -> list[Effect]:
        """Tell the peer a checksum, a confirmation, or that we are alive."""
        if self.state is not State.ACTIVE:
            return []
        return [fx.Send(SessionInfo(self.sid, note, self.offer.creator, self.offer.name))]

    def await_confirmation(self) -> list[Effect]:
        """Start waiting for the receiver's session-terminate; every sign of life starts the wait anew."""
        if self.state is not State.ACTIVE:
            return []
        self._confirming = True
        return [fx.StartDeadline(Wait.CONFIRMATION, self._limits.confirmation_s)]

    def terminate(self, reason: Reason, error: JetError | None = None) -> list[Effect]:
        """End the session for `reason`; an ended session stays as it is."""
        if self.state not in {State.PENDING, State.ACTIVE}:
            return []
        self._advance(Turn.TERMINATE)
        return [
            fx.Send(Terminate(self.sid, reason)),
            *self._stop_waiting(),
            fx.Ended(reason, by_peer=False, error=error),
        ]

    def refused(self, action: Action, condition: str) -> list[Effect]:
        """Report that the peer answered `action` with the stanza error `condition`."""
        if self.state is State.ENDED or isinstance(action, SessionInfo | Terminate):
            return []
        if isinstance(action, TransportReplace):
            return self._fail("the peer refused the in-band transport")
        if isinstance(action, TransportInfo) and condition != "item-not-found":
            return []
        self._advance(Turn.TERMINATE)
        return [
            *self._stop_waiting(),
            fx.DropTransport(),
            fx.Ended(Reason("general-error"), by_peer=True, refusal=condition),
        ]

    def deadline_passed(self, wait: Wait) -> list[Effect]:
        """Act on a deadline that passed."""
        if self.state not in {State.PENDING, State.ACTIVE}:
            return []
        if wait is Wait.ACCEPTANCE:
            error = UnavailableError(f"no answer to the offer within {self._limits.acceptance_s:g} s")
            return self.terminate(Reason("timeout"), error)
        if wait is Wait.CONFIRMATION:
            return self.terminate(Reason("timeout"), InterruptedTransferError(f"delivery not confirmed: {wait.value}"))
        if wait is Wait.REPLACEMENT:
            return self._fail(wait.value)
        return self._give_up()

    # What the peer sends.

    def receive(self, action: Action) -> list[Effect]:
        """Take an action of the peer and return what follows from it.

        Raises RemoteProtocolError, without having changed anything, where the action is out of order or malformed.
        """
        if self.state is State.ENDED and isinstance(action, SessionInfo | Terminate):
            return []
        match action:
            case Initiate():
                return self._on_initiate(action)
            case Accept():
                return self._on_accept(action)
            case TransportInfo():
                return self._on_transport_info(action)
            case TransportReplace():
                return self._on_replace(action)
            case TransportAccept():
                return self._on_transport_accept(action)
            case TransportReject():
                return self._on_transport_reject(action)
            case SessionInfo():
                return self._on_info(action)
            case Terminate():
                return self._on_terminate(action)

    def _on_initiate(self, action: Initiate) -> list[Effect]:
        if action.initiator not in {None, self.peer}:
            # XEP-0166 section 14: a third party must not be able to redirect a session.
            raise RemoteProtocolError("the offer names another initiator than its sender", condition="bad-request")
        self._advance(Turn.OFFER)
        self._offer, self._theirs = action.content, action.content.transport
        return [fx.Offered(action.content)]

    def _on_accept(self, action: Accept) -> list[Effect]:
        if not self.initiator:
            raise OutOfOrderError("the peer accepted its own offer")
        if action.responder not in {None, self.peer}:
            raise RemoteProtocolError("the answer names another responder than its sender", condition="bad-request")
        self._check_content(action.content)
        if action.content.transport is None or type(action.content.transport) is not type(self._ours):
            raise RemoteProtocolError("the peer accepted another transport than was offered", condition="bad-request")
        self._advance(Turn.ACCEPT)
        self._theirs = action.content.transport
        return [fx.StopDeadline(Wait.ACCEPTANCE), fx.Accepted(action.content), *self._start_transport()]

    def _on_transport_info(self, action: TransportInfo) -> list[Effect]:
        if self.state not in {State.PENDING, State.ACTIVE}:
            raise OutOfOrderError("the peer sent transport-info outside a session")
        if not self._on_socks5() or action.transport_sid != self._socks5_sid():
            return []  # of a transport that has been replaced meanwhile
        match action.note:
            case CandidateUsed() | CandidateError():
                return self._on_choice(action.note)
            case Activated():
                return self._on_activated()
            case ProxyError():
                return self._give_up() if self.path is Path.NOMINATED else []

    def _on_choice(self, choice: CandidateUsed | CandidateError) -> list[Effect]:
        if isinstance(choice, CandidateUsed) and not self._selection.offers(choice.cid):
            raise RemoteProtocolError("the peer used a candidate that was not offered", condition="bad-request")
        if self.path in {Path.GATHERING, Path.DIALLING}:
            self._selection.peer_said(choice)
        return [*self._nominate(), *self._narrow()] if self.path is Path.DIALLING else []

    def _on_activated(self) -> list[Effect]:
        nominee = self._selection.verdict()
        if self.path is not Path.NOMINATED or nominee is None or nominee.owned:
            return []
        return self._use(nominee)

    def _on_replace(self, action: TransportReplace) -> list[Effect]:
        if self.state is not State.ACTIVE or self.path in {Path.FLOWING, Path.FAILED}:
            raise OutOfOrderError("the peer replaced the transport at the wrong time")
        self._check_content(action.content)
        proposed = action.content.transport
        # What we do not know we cannot write either; the one that stays says as much.
        writable = self._ours if isinstance(proposed, UnknownTransport | None) else proposed
        reject = fx.Send(TransportReject(self.sid, self._with_transport(writable)))
        if self.initiator:
            # Only the initiator may replace (XEP-0260 section 3); it wins the tie with its own proposal.
            return [] if self.path is Path.REPLACING else [reject]
        if self._inband is None or not isinstance(proposed, InbandTransport):
            return [reject, *self._fail("the peer proposed a transport that is not allowed here")]
        agreed = InbandTransport(proposed.sid, min(proposed.block_size, self._inband.block_size))
        return [
            fx.DropTransport(),
            fx.Send(TransportAccept(self.sid, self._with_transport(agreed))),
            *self._go_inband(agreed),
        ]

    def _on_transport_accept(self, action: TransportAccept) -> list[Effect]:
        if not self.initiator or self.path is not Path.REPLACING:
            raise OutOfOrderError("the peer accepted a transport that was not proposed")
        self._check_content(action.content)
        accepted, proposed = action.content.transport, self._inband
        if not isinstance(accepted, InbandTransport) or proposed is None or accepted.sid != proposed.sid:
            raise RemoteProtocolError("the peer accepted another transport than proposed", condition="bad-request")
        return self._go_inband(InbandTransport(proposed.sid, min(proposed.block_size, accepted.block_size)))

    def _on_transport_reject(self, action: TransportReject) -> list[Effect]:
        if not self.initiator or self.path is not Path.REPLACING:
            raise OutOfOrderError("the peer rejected a transport that was not proposed")
        self._check_content(action.content)
        return self._fail("the peer refused the in-band transport")

    def _on_info(self, action: SessionInfo) -> list[Effect]:
        if self.state is State.IDLE:
            raise OutOfOrderError("the peer sent session-info outside a session")
        effects: list[Effect] = [] if isinstance(action.note, Ping) else [fx.Noted(action.note)]
        if self._confirming:
            effects.append(fx.StartDeadline(Wait.CONFIRMATION, self._limits.confirmation_s))
        return effects

    def _on_terminate(self, action: Terminate) -> list[Effect]:
        self._advance(Turn.TERMINATE)
        return [*self._stop_waiting(), fx.Ended(action.reason, by_peer=True)]

    # The transport.

    def _start_transport(self) -> list[Effect]:
        ours, theirs = self._ours, self._theirs
        if isinstance(ours, InbandTransport) and isinstance(theirs, InbandTransport):
            sid = theirs.sid if not self.initiator else ours.sid
            return self._go_inband(InbandTransport(sid, min(ours.block_size, theirs.block_size)))
        if not (isinstance(ours, Socks5Transport) and isinstance(theirs, Socks5Transport)):
            return self._fail("there is no transport that both sides speak")
        self._move(Turn.DIAL)
        ordered = tuple(sorted(theirs.candidates, key=lambda candidate: -candidate.priority))
        return [
            fx.StartDeadline(Wait.CANDIDATES, self._limits.candidates_s),
            fx.Dial(self._socks5_sid(), ordered, theirs.dstaddr),
            *self._narrow(),
        ]

    def _narrow(self) -> list[Effect]:
        """Spare the dials that cannot win against the candidate that the peer has reached."""
        chosen = self._selection.chosen
        if chosen is None or self._selection.dialled:
            return []
        # Of equal priorities the one that the initiator reached wins.
        return [fx.DialAbove(chosen.priority if self.initiator else chosen.priority + 1)]

    def _nominate(self) -> list[Effect]:
        """Agree on a candidate once both sides have said which one they reached (XEP-0260 section 2.4)."""
        if not self._selection.decided:
            return []
        nominee = self._selection.verdict()
        if nominee is None:
            return self._give_up()
        if nominee.candidate.type is not CandidateType.PROXY:
            self._move(Turn.NOMINATE_DIRECT)
            return [fx.StopDeadline(Wait.CANDIDATES), fx.UseSocks5(nominee.candidate, nominee.owned)]
        self._move(Turn.NOMINATE_PROXY)
        effects: list[Effect] = [
            fx.StopDeadline(Wait.CANDIDATES),
            fx.StartDeadline(Wait.ACTIVATION, self._limits.activation_s),
        ]
        return [*effects, fx.Activate(self._socks5_sid(), nominee.candidate)] if nominee.owned else effects

    def _use(self, proxy: Nominee) -> list[Effect]:
        self._move(Turn.ACTIVATE)
        return [fx.StopDeadline(Wait.ACTIVATION), fx.UseSocks5(proxy.candidate, proxy.owned)]

    def _give_up(self) -> list[Effect]:
        """Leave SOCKS5: the initiator proposes in-band, the responder waits for that."""
        if (self.path, Turn.GIVE_UP) not in PATH_TABLE:
            return []
        if self._inband is None:
            return self._fail("no address of either side could be reached")
        self._move(Turn.GIVE_UP)
        effects: list[Effect] = [fx.StopDeadline(wait) for wait in (Wait.CANDIDATES, Wait.ACTIVATION)]
        effects += [fx.DropTransport(), fx.StartDeadline(Wait.REPLACEMENT, self._limits.replacement_s)]
        if self.initiator:
            effects.append(fx.Send(TransportReplace(self.sid, self._with_transport(self._inband))))
        return effects

    def _go_inband(self, transport: InbandTransport) -> list[Effect]:
        self._move(Turn.REPLACE)
        self._ours = self._theirs = transport
        waits = (Wait.CANDIDATES, Wait.ACTIVATION, Wait.REPLACEMENT)
        return [*(fx.StopDeadline(wait) for wait in waits), fx.UseInband(transport, open_it=self.initiator)]

    def _fail(self, cause: str) -> list[Effect]:
        self._move(Turn.FAIL)
        error = NetworkError(f"no usable connection to {shown(self.peer)}: {cause}")
        return [fx.DropTransport(), *self.terminate(Reason("connectivity-error"), error)]

    # Small questions.

    def _advance(self, turn: Turn) -> None:
        self.state = next_state(SESSION_TABLE, self.state, turn)

    def _move(self, turn: Turn) -> None:
        self.path = next_state(PATH_TABLE, self.path, turn)

    def _check_content(self, content: Content) -> None:
        if (content.creator, content.name) != (self.offer.creator, self.offer.name):
            raise RemoteProtocolError("the peer names another content than the offer's", condition="bad-request")

    def _with_transport(self, transport: Transport | None) -> Content:
        return Content(self.offer.creator, self.offer.name, self.offer.senders, transport=transport)

    def _tell(self, note: TransportNote) -> fx.Send:
        offer = self.offer
        return fx.Send(TransportInfo(self.sid, offer.creator, offer.name, offer.senders, self._socks5_sid(), note))

    def _on_socks5(self) -> bool:
        return isinstance(self._ours if self.initiator else self._theirs, Socks5Transport)

    def _socks5_sid(self) -> str:
        offered = self.offer.transport
        assert isinstance(offered, Socks5Transport), "asked only where the offer was over SOCKS5"
        return offered.sid

    def _offer_transport(self, transport: Transport | None) -> None:
        self._ours = transport
        ours = transport.candidates if isinstance(transport, Socks5Transport) else ()
        self._selection = Selection(ours, initiator=self.initiator)

    def _stop_waiting(self) -> list[Effect]:
        return [fx.StopDeadline(wait) for wait in Wait]
