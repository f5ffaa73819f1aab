"""One Jingle session on the wire: performs what the session machine wants done, and hands it the results.

The machine (`jetcli.protocol.session`) decides; this module sends its actions, keeps its deadlines on the event loop's
clock and lets `jetcli.xmpp.candidates` and `jetcli.xmpp.inband` make the connection. What comes out are futures: the
accepted content, the channel for the bytes, the checksum, the end.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

from jetcli.errors import JetError, NetworkError
from jetcli.protocol import effects as fx
from jetcli.protocol.model import (
    Accept,
    Action,
    Candidate,
    CandidateType,
    Checksum,
    Content,
    InbandTransport,
    Initiate,
    MembersEnded,
    PathKind,
    Ping,
    Prefix,
    Reason,
    Received,
    SessionInfo,
    SessionNote,
)
from jetcli.protocol.session import Session
from jetcli.xmpp.ask import StanzaError
from jetcli.xmpp.candidates import Candidates
from jetcli.xmpp.channel import Channel

#: Sends one action to the peer and returns when it was acknowledged; raises StanzaError for an error reply.
Deliver = Callable[[Action], Coroutine[Any, Any, None]]
#: Makes the in-band channel of a session; the flag says whether we open the bytestream.
OpenInband = Callable[[InbandTransport, bool], Coroutine[Any, Any, Channel]]

#: How long a closing negotiation waits for its last stanzas to be acknowledged.
SETTLE_S = 1.0
#: The same after we have told the peer of a success: it waits for that, while our stream may just be resuming.
FAREWELL_S = 30.0


class SessionEnded(Exception):  # noqa: N818 - an outcome that waiting callers meet, not always an error
    """The session ended while something was awaited of it; `end` says how."""

    def __init__(self, end: fx.Ended) -> None:
        super().__init__(end.reason.condition)
        self.end = end


class OfferWithdrawn(SessionEnded):
    """The session of a peer's offer ended before we accepted it."""


class Negotiation:
    """A session with one peer, driven by stanzas and by the verbs below.

    `accepted` resolves to the peer's content, `channel` to the open byte channel, `checksum`, `received` and `prefix`
    to what the peer said of the file, and `ended` to the end. The first two raise SessionEnded when the session ends
    before. A channel stays ours, and is closed with us, until `take_channel` has handed it over.
    """

    def __init__(self, session: Session, candidates: Candidates, deliver: Deliver, open_inband: OpenInband) -> None:
        loop = asyncio.get_running_loop()
        self.session = session
        self.candidates = candidates
        self.accepted: asyncio.Future[Content] = loop.create_future()
        self.channel: asyncio.Future[Channel] = loop.create_future()
        self.checksum: asyncio.Future[Checksum] = loop.create_future()
        self.received: asyncio.Future[None] = loop.create_future()
        self.prefix: asyncio.Future[Prefix] = loop.create_future()
        self.ended: asyncio.Future[fx.Ended] = loop.create_future()
        #: Called when the peer's offer was accepted.
        self.on_accepted: Callable[[], None] = lambda: None
        #: Called when the peer has told how members of a bundle ended.
        self.on_members: Callable[[MembersEnded], None] = lambda _: None
        self.path: PathKind | None = None
        self.relay: str | None = None
        #: When the peer last said that it is alive and waits for someone at its end, on the loop's clock.
        self.pinged_at = -math.inf
        self._deliver = deliver
        self._open_inband = open_inband
        self._deadlines: dict[fx.Wait, asyncio.TimerHandle] = {}
        self._sends: set[asyncio.Task[None]] = set()
        #: What makes the connection: dials, activations and openings.
        self._connecting: set[asyncio.Task[None]] = set()
        self._opening: asyncio.Task[None] | None = None
        self._taken = False

    # Verbs of the transfer.

    def initiate(self, content: Content) -> None:
        """Offer `content` to the peer."""
        self._perform(self.session.initiate(content))

    def accept(self, content: Content) -> None:
        """Accept the peer's offer; raise OfferWithdrawn where its session has ended meanwhile."""
        if self.ended.done():
            raise OfferWithdrawn(self.ended.result())
        self._perform(self.session.accept(content))
        self.on_accepted()

    def inform(self, note: SessionNote) -> None:
        """Tell the peer a checksum, a confirmation, or that we are alive."""
        self._perform(self.session.inform(note))

    async def take_channel(self) -> Channel:
        """Return the open channel, which the caller closes from now on; raise SessionEnded where none comes."""
        while True:
            waiting = self.channel
            channel = await waiting
            if waiting is self.channel:  # else the peer has replaced the transport meanwhile
                self._taken = True
                return channel

    def first_byte(self) -> None:
        """Note that bytes move, so that the transport stays."""
        self._perform(self.session.first_byte())

    def await_confirmation(self) -> None:
        """Start the deadline for the receiver's confirmation."""
        self._perform(self.session.await_confirmation())

    def end_for(self, reason: Reason) -> None:
        """End the session for `reason`; one that has ended stays as it is."""
        self._perform(self.session.terminate(reason))

    def terminate(self, condition: str, text: str | None = None, *, application: str | None = None) -> None:
        """End the session; one that has ended stays as it is."""
        self._perform(self.session.terminate(Reason(condition, text, application)))

    def receive(self, action: Action) -> None:
        """Take an action of the peer; raise RemoteProtocolError where it cannot be taken."""
        if isinstance(action, SessionInfo) and isinstance(action.note, Ping):
            self.pinged_at = asyncio.get_running_loop().time()
        self._perform(self.session.receive(action))

    async def close(self) -> None:
        """Let the last stanzas go out, for a while at most, and release every socket and timer."""
        if not self.ended.done():
            self.terminate("cancel")
        if not self.ended.done():  # nothing was offered, so that there is nobody to be told
            self._end(fx.Ended(Reason("cancel"), by_peer=False))
        self._stop_connecting()
        self._close_untaken()
        sends = {task for task in self._sends if task is not asyncio.current_task()}
        try:
            if sends:
                await asyncio.wait(sends, timeout=FAREWELL_S if self._told_success else SETTLE_S)
        finally:
            for task in self._sends:
                task.cancel()

    @property
    def _told_success(self) -> bool:
        end = self.ended.result()
        return end.reason.condition == "success" and not end.by_peer

    # Effects.

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(action):
                    self._spawn(self._send(action), self._sends)
                case fx.StartDeadline(wait, seconds):
                    self._start_deadline(wait, seconds)
                case fx.StopDeadline(wait):
                    self._stop_deadline(wait)
                case fx.Noted(note):
                    self._note(note)
                case fx.Accepted(content):
                    _resolve(self.accepted, content)
                case fx.Offered():
                    pass  # the service that received it tells the transfer
                case fx.Ended():
                    self._end(effect)
                case _:
                    self._connect(effect)

    def _connect(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Dial():
                self._spawn(self._dial(effect), self._connecting)
            case fx.DialAbove(priority):
                self.candidates.raise_floor(priority)
            case fx.Activate(transport_sid, candidate):
                self._spawn(self._activate(transport_sid, candidate), self._connecting)
            case fx.UseSocks5(candidate, owned):
                self._opening = self._spawn(self._use_socks5(candidate, owned), self._connecting)
            case fx.UseInband(transport, open_it):
                self._opening = self._spawn(self._use_inband(transport, open_it), self._connecting)
            case fx.DropTransport():
                self._drop()
                if self._close_untaken():
                    self.channel = asyncio.get_running_loop().create_future()
            case _:
                raise AssertionError(f"an effect that nobody performs: {effect}")

    @staticmethod
    def _spawn(work: Coroutine[Any, Any, None], kin: set[asyncio.Task[None]]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        kin.add(task)
        task.add_done_callback(kin.discard)
        return task

    async def _send(self, action: Action) -> None:
        try:
            await self._deliver(action)
        except StanzaError as error:
            self._perform(self.session.refused(action, error.condition))
        except JetError as error:
            # No answer, or the stream is gone: without the offer or the accept there is nothing to wait for. Anything
            # else that is lost shows by its own deadline.
            if isinstance(action, Initiate | Accept):
                self._perform(self.session.terminate(Reason("timeout"), error))

    async def _dial(self, wanted: fx.Dial) -> None:
        reached = await self.candidates.dial(wanted.candidates, wanted.dstaddr, wanted.transport_sid)
        self._perform(self.session.dialled(reached))

    async def _activate(self, transport_sid: str, candidate: Candidate) -> None:
        succeeded = await self.candidates.activate(transport_sid, candidate)
        self._perform(self.session.activated(succeeded))

    async def _use_socks5(self, candidate: Candidate, owned: bool) -> None:
        try:
            channel = await self.candidates.take(candidate, owned=owned)
        except OSError:
            self._perform(self.session.connection_failed())
            return
        if candidate.type is CandidateType.PROXY:
            self._connected(channel, PathKind.PROXY, candidate.jid)
        else:
            self._connected(channel, PathKind.DIRECT)

    async def _use_inband(self, transport: InbandTransport, open_it: bool) -> None:
        try:
            channel = await self._open_inband(transport, open_it)
        except (OSError, StanzaError):
            self.terminate("connectivity-error", "the in-band bytestream could not be opened")
            return
        self._connected(channel, PathKind.INBAND)

    def _connected(self, channel: Channel, path: PathKind, relay: str | None = None) -> None:
        if self.channel.done():
            channel.close()  # the session has ended, or nobody waits for the bytes any more
            return
        self.path, self.relay = path, relay
        self.channel.set_result(channel)

    def _drop(self) -> None:
        if self._opening is not None and self._opening is not asyncio.current_task():
            self._opening.cancel()
        self.candidates.drop()

    def _stop_connecting(self) -> None:
        for task in self._connecting:
            if task is not asyncio.current_task():
                task.cancel()
        self._drop()

    def _close_untaken(self) -> bool:
        """Close a channel that came and that nobody has taken; say whether there was one."""
        came = self.channel.done() and not self.channel.cancelled() and self.channel.exception() is None
        if self._taken or not came:
            return False
        self.channel.result().close()
        return True

    def _note(self, note: SessionNote) -> None:
        match note:
            case Checksum():
                _resolve(self.checksum, note)
            case Received():
                _resolve(self.received, None)
            case Prefix():
                _resolve(self.prefix, note)
            case MembersEnded():
                self.on_members(note)

    def _end(self, end: fx.Ended) -> None:
        if isinstance(end.error, NetworkError) and self.candidates.refused:
            refused = f"{end.error.message}; {self.candidates.refused} addresses refused by policy"
            end = fx.Ended(end.reason, end.by_peer, NetworkError(refused, hint=end.error.hint), end.refusal)
        # Whoever opened something to us now would find nobody who closes it.
        self._stop_connecting()
        _resolve(self.ended, end)
        for waiting in (self.accepted, self.channel):
            if not waiting.done():
                waiting.set_exception(SessionEnded(end))
                waiting.exception()  # seen: nobody need be waiting for it

    # Deadlines.

    def _start_deadline(self, wait: fx.Wait, seconds: float) -> None:
        self._stop_deadline(wait)
        self._deadlines[wait] = asyncio.get_running_loop().call_later(seconds, self._deadline_passed, wait)

    def _stop_deadline(self, wait: fx.Wait) -> None:
        if timer := self._deadlines.pop(wait, None):
            timer.cancel()

    def _deadline_passed(self, wait: fx.Wait) -> None:
        self._perform(self.session.deadline_passed(wait))


def _resolve(future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        future.set_result(value)
