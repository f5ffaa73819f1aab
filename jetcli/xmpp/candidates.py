"""The SOCKS5 candidates of one session: ours, offered and listened on, and the peer's, dialled under our policy.

It owns every socket of the negotiation until `take` hands over the one that carries the bytes; `drop` closes the rest.
Which candidate wins is the session machine's business. A peer learns nothing of why an address was not dialled: the
answer is the same candidate-error.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network

from msgspec import Struct

from jetcli.protocol.bytestream import dst_addr
from jetcli.protocol.model import Candidate, CandidateType, Socks5Transport
from jetcli.protocol.nomination import dial_order, priority
from jetcli.protocol.policy import MAX_CANDIDATES, shown, why_not_dial
from jetcli.xmpp import socks5
from jetcli.xmpp.channel import IDLE_S, SocketChannel
from jetcli.xmpp.listener import Listener, SharedPorts

#: A candidate that does not answer gives the next one its chance after this long; both go on (RFC 8305 calls it
#: connection attempt delay).
STAGGER_S = 0.25
DIAL_S = 3.0
PROXY_S = 10.0

#: What a peer may say that its listener expects: a SHA-1, and no text of its own choice (XEP-0260 section 2.2).
_DST_ADDR = re.compile(r"[0-9a-f]{40}")


class Reach(Struct, frozen=True):
    """Which ways may be offered and dialled.

    `hosts` are our own addresses to listen on; `advertised` replaces them by one forwarded HOST, PORT.
    `trusted_domains` are the domains whose proxies may be named instead of numbered: our server's, and the peer's. What
    our server names as a proxy may have any domain.
    """

    direct: bool = True
    proxy: bool = True
    hosts: tuple[str, ...] = ()
    on_link: tuple[IPv4Network | IPv6Network, ...] = ()
    loopback: bool = False
    listen_port: int | None = None
    advertised: tuple[str, int] | None = None
    trusted_domains: frozenset[str] = frozenset()


class Candidates:
    """Both sides' candidates of one session between `me` and `peer` (full JIDs).

    `activate_proxy(proxy_jid, transport_sid, peer)` asks a proxy to join the two connections, and raises
    `socks5.ProxyRefusedError` where it does not. `told` takes a line for the user who asked for details. `ports` are
    shared with other sessions. The connection that is taken may stand still for `idle_s`.
    """

    def __init__(
        self,
        me: str,
        peer: str,
        reach: Reach,
        *,
        activate_proxy: socks5.ActivateProxy,
        told: Callable[[str], None],
        ports: SharedPorts | None = None,
        idle_s: float = IDLE_S,
    ) -> None:
        self._me = me
        self._peer = peer
        self._reach = reach
        self._activate_proxy = activate_proxy
        self._told = told
        self._ports = ports or SharedPorts()
        self._idle_s = idle_s
        self._listener: Listener | None = None
        self._dials: dict[Candidate, asyncio.Task[SocketChannel]] = {}
        self._floor = 0
        self._reached_us = asyncio.Event()
        self._proxied: SocketChannel | None = None
        #: The proxies that our own server names; with a server for many domains they are under none of ours.
        self._proxies: frozenset[socks5.StreamHost] = frozenset()
        #: How many of the peer's candidates our policy did not let us dial.
        self.refused = 0

    async def offer(
        self, transport_sid: str, proxies: Sequence[socks5.StreamHost], *, taken: Iterable[Candidate] = ()
    ) -> Socks5Transport:
        """Listen, and return our transport without the addresses in `taken`, which are the peer's (XEP-0260 2.2).

        `proxies` are those that our server names.
        """
        self._proxies = frozenset(proxies)
        ours = dst_addr(transport_sid, self._me, self._peer)
        occupied = {(candidate.host, candidate.port) for candidate in taken}
        proxied = [
            self._candidate(CandidateType.PROXY, proxy.host, proxy.port, proxy.jid, rank)
            for rank, proxy in enumerate(proxies if self._reach.proxy else ())
        ]
        direct: list[Candidate] = []
        if self._reach.direct and self._reach.hosts:
            self._listener = self._listen({ours, dst_addr(transport_sid, self._peer, self._me)})
        if self._listener is not None:
            direct = self._direct_candidates(self._listener.addresses)
        # Of too many addresses the last go, but no proxy: behind NAT it is all that a peer can reach.
        candidates = direct[: max(MAX_CANDIDATES - len(proxied), 0)] + proxied
        free = [candidate for candidate in candidates if (candidate.host, candidate.port) not in occupied]
        return Socks5Transport(transport_sid, tuple(free[:MAX_CANDIDATES]), ours)

    def _listen(self, accepted: set[str]) -> Listener | None:
        """Listen on our addresses, or do without where none can be had: another jet may have the port of both."""
        hosts, port = self._reach.hosts, self._reach.listen_port
        try:
            if port is not None:
                return self._ports.listener(hosts, port, accepted)
            return Listener.at(hosts, accepted=accepted)
        except OSError as error:
            at = "" if port is None else f"port {port}: "
            self._told(f"offering no address of ours: {at}{error.strerror or error}")
            return None

    def _direct_candidates(self, listening: Sequence[tuple[str, int]]) -> list[Candidate]:
        addresses = [self._reach.advertised] if self._reach.advertised else listening
        return [
            self._candidate(CandidateType.DIRECT, host, number, self._me, rank)
            for rank, (host, number) in enumerate(addresses)
        ]

    @staticmethod
    def _candidate(kind: CandidateType, host: str, port: int, jid: str, rank: int) -> Candidate:
        return Candidate(secrets.token_hex(4), host, port, jid, priority(kind, rank), kind)

    def raise_floor(self, floor: int) -> None:
        """Stop dialling what cannot win any more: candidates of a priority below `floor`."""
        self._floor = max(self._floor, floor)
        self._reached_us.set()
        for candidate, dial in self._dials.items():
            if candidate.priority < self._floor:
                dial.cancel()

    async def dial(self, candidates: Iterable[Candidate], dstaddr: str | None, transport_sid: str) -> Candidate | None:
        """Dial the peer's candidates, best first and overlapping; return the best one that answers, or None.

        While the peer has reached nothing of ours, None comes after the same time whether a port was closed, silent or
        not dialled at all: how fast an answer is must not tell the peer about our network. Once it has reached us, a
        late answer would only keep everybody waiting.
        """
        address = dst_addr(transport_sid, self._peer, self._me)
        if dstaddr is not None and _DST_ADDR.fullmatch(dstaddr):
            address = dstaddr
        given = dial_order(candidates)[:MAX_CANDIDATES]
        silent_until_s = asyncio.get_running_loop().time() + len(given) * STAGGER_S + DIAL_S
        waiting = [candidate for candidate in given if self._may_dial(candidate)]
        while waiting or self._running():
            if waiting and (candidate := waiting.pop(0)).priority >= self._floor:
                self._dials[candidate] = asyncio.create_task(self._connect(candidate, address))
            if winner := await self._first_answer(STAGGER_S if waiting else None):
                self._keep_only(winner)
                return winner
        if given:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(silent_until_s):
                    await self._reached_us.wait()
        return None

    def _running(self) -> list[asyncio.Task[SocketChannel]]:
        return [dial for dial in self._dials.values() if not dial.done()]

    async def _first_answer(self, timeout_s: float | None) -> Candidate | None:
        if running := self._running():
            await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for candidate, dial in self._dials.items():
            if dial.done() and not dial.cancelled() and dial.exception() is None:
                return candidate
        return None

    def _keep_only(self, winner: Candidate | None) -> None:
        for candidate, dial in self._dials.items():
            if candidate != winner:
                _abandon(dial)

    def _may_dial(self, candidate: Candidate) -> bool:
        proxy = candidate.type is CandidateType.PROXY
        if not (self._reach.proxy if proxy else self._reach.direct):
            return False
        if proxy and self._is_trusted_proxy(candidate):
            return True  # its name is resolved, and each address judged, when it is dialled
        if reason := self._why_not(candidate.host, candidate.port):
            self.refused += 1
            self._told(f"not dialling {shown(candidate.host)} port {candidate.port}: {reason}")
            return False
        return True

    def _is_trusted_proxy(self, candidate: Candidate) -> bool:
        if socks5.StreamHost(candidate.jid, candidate.host, candidate.port) in self._proxies:
            return True
        domain = candidate.jid.rpartition("@")[2].partition("/")[0]
        return any(domain == d or domain.endswith(f".{d}") for d in self._reach.trusted_domains)

    def _why_not(self, host: str, port: int) -> str | None:
        return why_not_dial(host, port, on_link=self._reach.on_link, loopback=self._reach.loopback)

    async def _connect(self, candidate: Candidate, dstaddr: str) -> SocketChannel:
        host = candidate.host
        if candidate.type is CandidateType.PROXY and self._is_trusted_proxy(candidate):
            host = await socks5.resolve(candidate.host, candidate.port, self._why_not)
        return await socks5.dial(host, candidate.port, dstaddr, timeout_s=DIAL_S, idle_s=self._idle_s)

    async def activate(self, transport_sid: str, candidate: Candidate) -> bool:
        """Connect to our own nominated proxy and have it activated; say whether that worked (XEP-0260 section 2.4)."""
        try:
            address = dst_addr(transport_sid, self._me, self._peer)
            async with asyncio.timeout(PROXY_S):
                self._proxied = await self._connect(candidate, address)
            await self._activate_proxy(candidate.jid, transport_sid, self._peer)
        except (OSError, socks5.ProxyRefusedError) as error:
            self._told(f"proxy {shown(candidate.jid)} was not activated: {error}")
            return False
        return True

    async def take(self, candidate: Candidate, *, owned: bool) -> SocketChannel:
        """Hand over the connection of the nominated candidate; raise OSError where there is none."""
        if not owned:
            channel = await self._dials.pop(candidate)
        elif candidate.type is CandidateType.PROXY and self._proxied is not None:
            channel, self._proxied = self._proxied, None
        elif self._listener is not None:
            channel = await self._listener.connected(PROXY_S, candidate.host, idle_s=self._idle_s)
        else:
            raise ConnectionError("the nominated candidate has no connection")
        self.drop()
        return channel

    def drop(self) -> None:
        """Close the listener and every connection that was not taken."""
        self._keep_only(None)
        self._dials.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._proxied is not None:
            self._proxied.close()
            self._proxied = None


def _abandon(dial: "asyncio.Task[SocketChannel]") -> None:
    """Stop a dial, or close what it connected to."""
    if not dial.done():
        dial.cancel()
    elif not dial.cancelled() and dial.exception() is None:
        dial.result().close()
