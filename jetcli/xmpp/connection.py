"""The account online: one stream to its server, kept alive, resumed after a cut, and left politely.

Owns login, presence and carbons, and tells when the stream is lost, resumed, rebuilt or gone for good. What runs over
the stream is summoned by `setup` before the start: services that come later miss what the server sends first. Knows
nothing of Jingle or OMEMO. Faults of aioxmpp are in aioxmpp_fixes.py, the words for failures in failures.py.
"""

import asyncio
import random
import string
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

import aioxmpp
import aioxmpp.carbons.xso
from msgspec import Struct

from jetcli.errors import JetError, NetworkError
from jetcli.protocol.scram import ScramKeys
from jetcli.xmpp.account import CONNECT_S, IQ_S, LOGIN_S, AccountSettings
from jetcli.xmpp.aioxmpp_fixes import finding_servers, mend, quiet
from jetcli.xmpp.ask import StanzaError, ask
from jetcli.xmpp.failures import explain
from jetcli.xmpp.phases import phase_over
from jetcli.xmpp.security import PasswordLogin, security_layer
from jetcli.xmpp.server import Route
from jetcli.xmpp.trace import trace

__all__ = ["AccountSettings", "Connection", "Presence", "StanzaError", "ask", "new_resource"]

#: Below every chat client, so that jet never swallows messages; offers reach it all the same.
PRIORITY = -1
#: A silent stream is asked for a sign of life after the first, and given up after both.
SILENCE_S = 15.0
ANSWER_S = 15.0
#: Until the first attempt to reconnect; each further one waits a fifth longer, up to a minute.
RECONNECT_S = 1.0
CLOSE_S = 1.0

_RESOURCE = string.ascii_lowercase + string.digits


def new_resource(rng: random.Random) -> str:
    """Return a resource that no other jet of the account has: `jet.` and six characters."""
    return "jet." + "".join(rng.choices(_RESOURCE, k=6))


class Presence(Struct, frozen=True):
    """What contacts see of us: available, or `show_xa` "extended away" for a jet that only sends."""

    show_xa: bool = False

    def stanza(self) -> aioxmpp.Presence:
        """Return the stanza that says so (RFC 6121 section 4.7)."""
        show = aioxmpp.PresenceShow.XA if self.show_xa else aioxmpp.PresenceShow.NONE
        stanza = aioxmpp.Presence(type_=aioxmpp.PresenceType.AVAILABLE, show=show)
        stanza.priority = PRIORITY
        return stanza


class Connection:
    """An account that is online; a context manager that leaves politely.

    Called on the loop's thread: `on_lost` when the stream broke (jet reconnects by itself), then either `on_resumed`,
    when it goes on and nothing was lost (XEP-0198), or `on_destroyed`, when peers saw us leave and pending answers
    are lost; jet still reconnects under a new stream, and `on_restored` is called when that is up. `on_failed` is the
    end: its error says why there will be no further stream.
    """

    def __init__(
        self, client: aioxmpp.Client, settings: AccountSettings, presence: Presence, login: PasswordLogin, route: Route
    ) -> None:
        self.client = client
        self.on_lost: list[Callable[[], None]] = []
        self.on_resumed: list[Callable[[], None]] = []
        self.on_destroyed: list[Callable[[], None]] = []
        self.on_restored: list[Callable[[], None]] = []
        self.on_failed: list[Callable[[JetError], None]] = []
        self._settings = settings
        self._presence = presence
        self._login = login
        self._route = route
        self._destroyed = False
        self._established = False
        self._ended = asyncio.Event()
        self._failure: JetError | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        settings: AccountSettings,
        *,
        resource: str,
        presence: Presence,
        setup: Callable[[aioxmpp.Client], None] = lambda _: None,
    ) -> Self:
        """Log in and return when contacts see us; `setup` summons services on the client before it starts.

        Raises AuthError, NetworkError or SetupError, within 60 s.
        """
        mend()
        quiet(asyncio.get_running_loop())
        login = PasswordLogin(settings)
        client = aioxmpp.Client(
            settings.address.replace(resource=resource),
            security_layer(settings, login),
            negotiation_timeout=timedelta(seconds=IQ_S),
            max_initial_attempts=1,
        )
        client.backoff_start = timedelta(seconds=RECONNECT_S)
        client.stream.soft_timeout = timedelta(seconds=SILENCE_S)
        client.stream.round_trip_time = timedelta(seconds=ANSWER_S)
        self = cls(client, settings, presence, login, Route(settings))
        setup(client)
        trace(client)
        await self._start()
        return self

    @property
    def jid(self) -> str:
        """Our full JID, as the server bound it."""
        return str(self.client.local_jid)

    @property
    def mechanism(self) -> str | None:
        """The SASL mechanism that logged us in."""
        return self._login.mechanism

    @property
    def keys(self) -> ScramKeys | None:
        """What logged us in by SCRAM, and will do so without the password; None where it was PLAIN."""
        return self._login.keys

    @property
    def tls(self) -> tuple[str, datetime]:
        """The version of TLS that is spoken, and until when the server's certificate is valid."""
        assert self._login.tls is not None, "known once the account is online"
        return self._login.tls

    @property
    def failure(self) -> JetError | None:
        """Why the connection is gone for good, or None."""
        return self._failure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, timeout_s: float = CLOSE_S) -> None:
        """Say goodbye (unavailable presence, end of stream) and be offline after `timeout_s` at the latest."""
        for task in self._tasks:
            task.cancel()
        if not self.client.running:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._say_goodbye()
                self.client.stop()
                await self._ended.wait()
        except TimeoutError:
            await self._break_off()

    async def _start(self) -> None:
        client = self.client
        up = asyncio.Event()
        client.before_stream_established.connect(self._greet)
        client.summon(aioxmpp.EntityCapsService).on_ver_changed.connect(self._announce)
        client.on_stream_established.connect(up.set)
        client.on_stream_suspended.connect(self._lost)
        client.on_stream_destroyed.connect(self._gone)
        client.on_stream_resumed.connect(self._back)
        client.on_failure.connect(self._failed)
        client.on_stopped.connect(self._ended.set)
        with finding_servers(self._route.find):
            client.start()
        try:
            async with asyncio.timeout(CONNECT_S + LOGIN_S):
                await self._first_of(up, self._ended)
        except TimeoutError:
            await self._break_off()
            raise NetworkError(f"{self._settings.domain} did not finish the login in time") from None
        except BaseException:
            await self._break_off()
            raise
        if self._failure is not None:
            raise self._failure
        phase_over("bind")
        self._established = True

    async def _first_of(self, *events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _greet(self) -> bool:
        # Only a fresh stream needs it: a resumed one still has its presence and carbons.
        self.client.enqueue(self._presence.stanza())
        task = asyncio.create_task(self._enable_carbons())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True  # aioxmpp disconnects a handler that returns anything false

    async def _enable_carbons(self) -> None:
        # XEP-0280: copies of what other clients of the account get; servers without it just lack it.
        with suppress(JetError):
            await ask(self.client, aioxmpp.carbons.xso.Enable(), None, kind="set")

    def _announce(self) -> None:
        # XEP-0115 section 6.3: contacts learn of new features by presence.
        if self.client.established:
            self.client.enqueue(self._presence.stanza())

    def _lost(self, _reason: object) -> None:
        if self._established:
            _call(self.on_lost)

    def _gone(self, _reason: object = None) -> None:
        self._destroyed = True
        if self._established:
            _call(self.on_destroyed)

    def _back(self) -> None:
        # aioxmpp says "resumed" for a new stream too.
        destroyed, self._destroyed = self._destroyed, False
        if self._established:
            _call(self.on_restored if destroyed else self.on_resumed)

    def _failed(self, error: BaseException) -> None:
        self._failure = explain(error, self._settings, self._login)
        self._ended.set()
        if self._established:
            _call(self.on_failed, self._failure)

    async def _say_goodbye(self) -> None:
        if not self.client.established or self.client.suspended:
            return
        # A stream that breaks just now has no use for it.
        with suppress(OSError, RuntimeError):
            await self.client.send(aioxmpp.Presence(type_=aioxmpp.PresenceType.UNAVAILABLE))

    async def _break_off(self) -> None:
        self.client.stop()
        self._route.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._ended.wait()


def _call(callbacks: list[Any], *arguments: object) -> None:
    for callback in tuple(callbacks):
        callback(*arguments)
