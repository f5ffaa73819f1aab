"""The account: logging in for the first time, and being online with everything that a transfer needs.

`Online` is put together here once and handed around: connection, discovery, OMEMO device, Jingle sessions, records and
worker threads. It owns the order in which they start and stop.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jetcli.errors import JetError
from jetcli.protocol.device import Device, Trust
from jetcli.protocol.effects import Limits
from jetcli.protocol.fingerprint import fingerprint
from jetcli.protocol.invite import Invite
from jetcli.protocol.offer import is_request
from jetcli.protocol.policy import MAX_SESSIONS
from jetcli.protocol.quirks import RECEIVING, SENDING, Quirks, quirks_of
from jetcli.protocol.scram import ScramKeys
from jetcli.state.config import Account
from jetcli.state.hashes import FileHashes
from jetcli.state.locks import account_lock, resource_lock, runs_here
from jetcli.state.seen import ChunkedPeers, ScramSeen, SeenEnvelopes
from jetcli.state.store import KeyValues, Store
from jetcli.state.transfers import Transfers
from jetcli.state.trust import TrustBook, TrustPolicy
from jetcli.transfer.events import Connected, Detail, Listener, NewDevice, Phase, Warned
from jetcli.transfer.options import Network
from jetcli.transfer.ownership import Ownership
from jetcli.transfer.throttle import Throttle
from jetcli.xmpp import socks5
from jetcli.xmpp.account import AccountSettings
from jetcli.xmpp.addresses import networks_on_link, own_addresses
from jetcli.xmpp.candidates import Reach
from jetcli.xmpp.connection import Connection, Presence, new_resource
from jetcli.xmpp.discovery import Discovery
from jetcli.xmpp.failures import SessionLimitError
from jetcli.xmpp.inband import InbandService
from jetcli.xmpp.jingle import JingleService, Terms
from jetcli.xmpp.jingle_message import JingleMessages
from jetcli.xmpp.negotiation import Negotiation
from jetcli.xmpp.omemo_pep import OmemoPep
from jetcli.xmpp.phases import phase_over
from jetcli.xmpp.registration import accept_invitation, register_account

if TYPE_CHECKING:
    from jetcli.xmpp.omemo import Omemo

T = TypeVar("T")

#: More streams than this share the machine worse than they queue (design: control on asyncio, data on threads).
WORKERS = 4

#: How long a session may wait until somebody here answers what continues or requests a file, or takes an offer.
EARLY_S = 30.0
#: Publishing and draining mostly wait, for a disk or for the peer: as many at once as there may be sessions.
FINISHERS = MAX_SESSIONS

#: How long a sender waits before it asks again a server that takes no more sessions of the account.
SESSION_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with the password or the kept keys that open it, and the directory of its state."""

    account: Account
    directory: Path
    secret: str | ScramKeys = field(repr=False)
    trust: TrustPolicy = "btbv"
    fingerprints: tuple[bytes, ...] = ()

    def settings(self, scram_used: bool) -> AccountSettings:
        """Return how to log in; PLAIN is out of the question once SCRAM was used."""
        account = self.account
        password, keys = ("", self.secret) if isinstance(self.secret, ScramKeys) else (self.secret, None)
        return AccountSettings(
            account.jid,
            password,
            server=account.server,
            direct_tls=account.direct_tls,
            ca_file=account.ca_file,
            pin=account.pin,
            allow_plain=account.allow_plain,
            scram_used_before=scram_used,
            keys=keys,
        )


async def login(
    credentials: Credentials, *, register: bool, command: str, emit: Listener, invite: Invite | None = None
) -> ScramKeys | None:
    """Check that the account can be used, making it first when `register`; publish our OMEMO device.

    Returns what opens it instead of the password, or None where the server knows no SCRAM.
    With an `invite` the server is shown its token, and who invites becomes a contact.

    Raises AuthError, NetworkError and SetupError as the server answers. Nothing is written to the configuration.
    """
    if register:
        emit(Phase("making the account"))
        await register_account(credentials.settings(scram_used=False), token=invite.token if invite else None)
    async with await Online.open(credentials, Network(), receiving=False, command=command, emit=emit) as online:
        if invite is not None and invite.action == "roster":
            accept_invitation(online.connection.client, invite.jid, invite.token)
        return online.connection.keys


class Online:
    """An account that is online; close it, or use it as a context manager.

    `emit` hears of everything worth telling. `device` is our OMEMO device.
    """

    connection: Connection
    discovery: Discovery
    omemo: "Omemo"
    jingle: JingleService
    inband: InbandService
    messages: JingleMessages

    def __init__(
        self, credentials: Credentials, network: Network, store: Store, emit: Listener, *, command: str
    ) -> None:
        self.emit = emit
        self.network = network
        self.transfers = Transfers(store)
        self.file_hashes = FileHashes(store)
        self.seen_envelopes = SeenEnvelopes(store)
        self.chunked_peers = ChunkedPeers(store)
        self.trust = TrustBook(store, credentials.trust, credentials.fingerprints)
        self.throttle = Throttle(network.rate)
        #: One worker a stream, for as long as that takes. What ends a stream, or comes before it, never queues there.
        self.pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="jet-stream")
        self.hashing = ThreadPoolExecutor(WORKERS, thread_name_prefix="jet-hash")
        self.finishing = ThreadPoolExecutor(FINISHERS, thread_name_prefix="jet-finish")
        self.bare_jid = credentials.account.jid
        self.ownership = Ownership(credentials.directory, command)
        self._on_offer: Callable[[Negotiation], None] | None = None
        self._on_continued: Callable[[Negotiation], None] | None = None
        #: Resolves to the reason when the connection is gone for good.
        self.lost: asyncio.Future[JetError] = asyncio.get_running_loop().create_future()
        self._store = store
        self._directory = credentials.directory
        self._stack = AsyncExitStack()
        self._early: list[Negotiation] = []
        self._proxies: asyncio.Task[tuple[socks5.StreamHost, ...]] | None = None

    @classmethod
    async def open(
        cls, credentials: Credentials, network: Network, *, receiving: bool, command: str, emit: Listener
    ) -> Self:
        """Go online; `command` names us to another jet that waits for the account's lock.

        Raises AuthError, NetworkError, SetupError, UnsupportedError and UnavailableError.
        """
        store = Store.open(credentials.directory)
        self = cls(credentials, network, store, emit, command=command)
        self._stack.callback(store.close)
        for pool in (self.pool, self.hashing, self.finishing):
            self._stack.callback(pool.shutdown)
        try:
            await self._start(credentials, receiving=receiving, command=command)
        except BaseException:
            await self.close()
            raise
        return self

    async def _start(self, credentials: Credentials, *, receiving: bool, command: str) -> None:
        phase_over("imports")
        scram = ScramSeen(self._store)
        settings = credentials.settings(scram.known())
        self.emit(Phase(f"connecting to {settings.domain}"))

        def setup(client: Any) -> None:
            self.discovery = Discovery(client, RECEIVING if receiving else SENDING)
            self.inband = InbandService(client)
            client.summon(OmemoPep)
            self.messages = client.summon(JingleMessages)
            self.jingle = JingleService(
                client,
                inband=self.inband,
                terms_of=self.terms,
                told=lambda text: self.emit(Detail(text)),
                on_offer=self._offered,
                receives=receiving,
            )

        resource = new_resource(random.SystemRandom())
        # Before the login: whoever sees our presence must be able to tell that it is ours.
        self._stack.enter_context(resource_lock(self._directory, resource, command=command))
        # Importing the ratchet takes as long as logging in, which is mostly waiting: they go side by side.
        loading = asyncio.get_running_loop().run_in_executor(self.pool, _ratchet)
        self.connection = await self._connected(
            lambda: Connection.open(
                settings,
                resource=resource,
                presence=Presence(show_xa=not receiving),
                setup=setup,
            ),
            patient=not receiving,
        )
        if (bound := self.jid.partition("/")[2]) != resource:  # the server has the last word
            self._stack.enter_context(resource_lock(self._directory, bound, command=command))
        self.connection.on_failed.append(self._lost)
        self._stack.push_async_callback(self.connection.close)
        self._proxies = asyncio.create_task(self._find_proxies())
        if (self.connection.mechanism or "").startswith("SCRAM"):
            scram.remember(time.time())
        self.omemo = await (await loading).start(
            self.connection.client,
            KeyValues(self._store),
            self.trust,
            lambda: account_lock(credentials.directory, "omemo", command=command),
            is_close=self.is_close,
        )
        phase_over("OMEMO")
        self.omemo.on_new_device = self._new_device
        self._stack.push_async_callback(self.omemo.close)
        self._stack.push_async_callback(self.jingle.close)
        self.emit(Connected(self.connection.jid, settings.domain))

    async def _connected(self, connect: Callable[[], Awaitable[Connection]], *, patient: bool) -> Connection:
        """Connect; where the server has enough sessions of the account, the `patient` wait for one of them to end."""
        gives_up_at = time.monotonic() + self.network.acceptance_s
        while True:
            try:
                return await connect()
            except SessionLimitError as error:
                if not patient or time.monotonic() >= gives_up_at:
                    raise
                self.emit(Warned(f"{error.message}; waiting until one of them ends"))
                await asyncio.sleep(SESSION_PAUSE_S)

    async def close(self) -> None:
        """End every session, then everything else, in the opposite order of the start."""
        if self._proxies is not None:
            self._proxies.cancel()
        await self._stack.aclose()

    async def unless_lost(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` does; where the connection is gone for good meanwhile, cancel it and raise why."""
        working = asyncio.ensure_future(work)
        waiting: set[asyncio.Future[Any]] = {working, self.lost}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise self.lost.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def jid(self) -> str:
        """Our full JID."""
        return self.connection.jid

    @property
    def device(self) -> Device:
        """Our OMEMO device."""
        return self.omemo.own_device

    def is_close(self, bare_jid: str) -> bool:
        """Say whether somebody is a contact or has a verified device."""
        verified = any(key.trust is Trust.VERIFIED for key in self.trust.keys(bare_jid))
        return verified or self.discovery.is_contact(bare_jid)

    def runs_here(self, full_jid: str) -> bool:
        """Say whether a full JID is a process of this machine, this one or another, and so has our OMEMO device."""
        bare_jid, _, resource = full_jid.partition("/")
        return full_jid == self.jid or (bare_jid == self.bare_jid and runs_here(self._directory, resource))

    def listen(self, on_offer: Callable[[Negotiation], None]) -> None:
        """Hand every new offer to `on_offer` from now on, first those that came before anyone listened."""
        self._on_offer = on_offer
        self._hand_out()

    def answer(self, on_continued: Callable[[Negotiation], None]) -> None:
        """Hand every session that continues or requests a file to `on_continued`, first those that came before."""
        self._on_continued = on_continued
        self._hand_out()

    def _hand_out(self) -> None:
        early, self._early = self._early, []
        for negotiation in early:
            self._offered(negotiation)

    def _offered(self, negotiation: Negotiation) -> None:
        content = negotiation.session.offer
        continued = content.transfer is not None or is_request(content)
        handler = self._on_continued if continued else self._on_offer
        if handler is None:
            self._early.append(negotiation)
            asyncio.get_running_loop().call_later(EARLY_S, self._too_early, negotiation)
        else:
            handler(negotiation)

    def _too_early(self, negotiation: Negotiation) -> None:
        """Refuse a session that nobody has answered in time: each takes the place of another one."""
        if negotiation in self._early:
            self._early.remove(negotiation)
            negotiation.terminate("timeout")

    def _new_device(self, device: Device) -> None:
        self.emit(NewDevice(device.jid, device.device_id, fingerprint(device.identity_key), device.trusted))

    def _lost(self, error: JetError) -> None:
        if not self.lost.done():
            self.lost.set_result(error)

    # Ways to the peer.

    def terms(self, peer: str, client_name: str | None = None) -> Terms:
        """Return what holds for a session with `peer` (full JID), whose client may be known by its name."""
        network, quirks = self.network, self.quirks(peer, client_name)
        hosts = own_addresses(loopback=network.loopback) if network.path in {"auto", "direct"} else ()
        reach = Reach(
            direct=network.path in {"auto", "direct"},
            proxy=network.path in {"auto", "relay"},
            hosts=hosts,
            on_link=networks_on_link(loopback=network.loopback),
            loopback=network.loopback,
            listen_port=network.listen,
            advertised=network.advertise,
            trusted_domains=frozenset({_domain(self.bare_jid), _domain(peer)}),
        )
        return Terms(
            reach,
            inband=network.path in {"auto", "ibb"} and quirks.inband,
            seq_modulo=quirks.seq_modulo,
            idle_s=network.idle_s,
            limits=Limits(acceptance_s=network.acceptance_s, candidates_s=network.candidates_s),
        )

    def quirks(self, peer: str, client_name: str | None = None) -> Quirks:
        """Return how to talk to the client at `peer` (full JID), as far as its name or its presence tells."""
        return quirks_of(client_name, self.discovery.caps_node(peer))

    async def proxies(self) -> tuple[socks5.StreamHost, ...]:
        """Return the SOCKS5 proxies of our own server; they were looked for while we logged in."""
        assert self._proxies is not None, "asked only while online"
        return await self._proxies

    async def _find_proxies(self) -> tuple[socks5.StreamHost, ...]:
        if self.network.path not in {"auto", "relay"}:
            return ()
        proxy = await self.discovery.proxy()
        return (proxy,) if proxy else ()


def _ratchet() -> "type[Omemo]":
    from jetcli.xmpp.omemo import Omemo  # noqa: PLC0415 (on a thread, so that the login need not wait for it)

    return Omemo


def _domain(jid: str) -> str:
    return jid.partition("/")[0].rpartition("@")[2]
