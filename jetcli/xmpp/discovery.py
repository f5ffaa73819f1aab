"""Who is online, what their clients can do, and what our server offers (XEP-0030, XEP-0115, XEP-0092, XEP-0065).

Owns presence and roster as questions, and disco#info with a cache of its own: aioxmpp's mistrusts most clients,
because it takes the xml:lang that servers stamp on stanzas for a part of their identity. What the answers mean for a
transfer is not known here.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import aioxmpp
import aioxmpp.disco.xso
import aioxmpp.roster
import aioxmpp.version
import aioxmpp.version.xso
from msgspec import Struct

from jetcli import __version__
from jetcli.errors import JetError, RemoteProtocolError
from jetcli.protocol.policy import shown
from jetcli.xmpp.account import parsed_jid
from jetcli.xmpp.ask import ask
from jetcli.xmpp.presences import KeptPresences
from jetcli.xmpp.socks5 import StreamHost, query_streamhost

CLIENT_NAME = "jet"
#: A ghost resource (its client died, its session is still kept) must not hold up the others.
INFO_S = 5.0
PROXY_S = 5.0
#: Of more services than this, one is a proxy, or the server has none for us.
_MOST_SERVICES = 32
_MOST_CACHED = 256


class Resource(Struct, frozen=True):
    """An online client of somebody: full JID, presence priority, and show ("xa", "away", "dnd", "chat") or None."""

    jid: str
    priority: int
    show: str | None


class PeerInfo(Struct, frozen=True):
    """What a client says it is and can do (XEP-0030); its texts are as the peer sent them."""

    jid: str
    features: frozenset[str]
    client_name: str
    category: str
    type: str


class Discovery:
    """Questions about peers and the server; made in `Connection.open`'s `setup`, because presence comes once.

    `features` are what we can do. They go into our disco#info and, as a hash, into every presence.
    """

    def __init__(self, client: aioxmpp.Client, features: Iterable[str]) -> None:
        self._client = client
        self._presence = client.summon(aioxmpp.PresenceClient)
        self._roster = client.summon(aioxmpp.RosterClient)
        KeptPresences(client)
        self._known: dict[tuple[str, str], PeerInfo] = {}
        self._proxy: StreamHost | None = None
        _introduce(client, features)

    def resources(self, bare: str) -> list[Resource]:
        """Return the online clients of `bare` that show us their presence, highest priority first."""
        seen = self._presence.get_peer_resources(parsed_jid(bare).bare())
        found = [
            Resource(str(stanza.from_), stanza.priority, stanza.show.value)
            for resource, stanza in seen.items()
            if resource is not None
        ]
        return sorted(found, key=lambda resource: (-resource.priority, resource.jid))

    async def wait_for_presence(
        self, bare: str, timeout_s: float, *, but: Callable[[str], bool] = lambda _full_jid: False
    ) -> bool:
        """Tell whether a client of `bare` is online, or comes online in time; `but` says which do not count."""
        address = parsed_jid(bare).bare()
        came = asyncio.Event()

        def available(jid: aioxmpp.JID, _stanza: object) -> None:
            if jid.bare() == address and not but(str(jid)):
                came.set()

        token = self._presence.on_available.connect(available)
        try:
            if not all(but(resource.jid) for resource in self.resources(bare)):
                return True
            with suppress(TimeoutError):
                await asyncio.wait_for(came.wait(), timeout_s)
            return came.is_set()
        finally:
            self._presence.on_available.disconnect(token)

    def is_contact(self, bare: str) -> bool:
        """Tell whether the user lets `bare` see when they are online (subscription from or both), and so may send."""
        return self._subscription(bare) in {"from", "both"}

    def shows_presence(self, bare: str) -> bool:
        """Tell whether `bare` lets us see when they are online (subscription to or both); our own account does."""
        own = self._client.local_jid.bare() == parsed_jid(bare).bare()
        return own or self._subscription(bare) in {"to", "both"}

    async def peer_info(self, full_jid: str, timeout_s: float = INFO_S, *, awake: bool = False) -> PeerInfo:
        """Ask a client what it can do (XEP-0030), once for each version of it that its presence names.

        With `awake` it is asked in any case, so that an answer shows that it is there.

        Raises UnavailableError where it does not answer in time or with an error: it may be gone, though its presence
        says otherwise.
        """
        key = self._version_key(full_jid)
        if not awake and key is not None and (known := self._known.get(key)) is not None:
            return PeerInfo(full_jid, known.features, known.client_name, known.category, known.type)
        info = await _disco_info(self._client, full_jid, timeout_s)
        if key is not None and len(self._known) < _MOST_CACHED:
            self._known[key] = info
        return info

    def caps_node(self, full_jid: str) -> str | None:
        """Return the address by which a client names its software in its presence (XEP-0115), or None."""
        stanza = self._presence_of(full_jid)
        caps = None if stanza is None else stanza.xep0115_caps
        return None if caps is None else caps.node

    async def version(self, full_jid: str, timeout_s: float = INFO_S) -> str | None:
        """Return the version that a client names (XEP-0092), as it came, or None where it tells none."""
        with suppress(JetError):
            answer = await ask(self._client, aioxmpp.version.xso.Query(), full_jid, timeout_s)
            if isinstance(answer, aioxmpp.version.xso.Query) and answer.version is not None:
                return str(answer.version)
        return None

    async def proxy(self, timeout_s: float = PROXY_S) -> StreamHost | None:
        """Return the SOCKS5 proxy of our server, or None where it has none or does not name it in time."""
        if self._proxy is None:
            with suppress(JetError, TimeoutError):
                async with asyncio.timeout(timeout_s):
                    self._proxy = await self._find_proxy(timeout_s)
        return self._proxy

    def _subscription(self, bare: str) -> str:
        item = self._roster.items.get(parsed_jid(bare).bare())
        return "none" if item is None else str(item.subscription)

    def _version_key(self, full_jid: str) -> tuple[str, str] | None:
        # The hash cannot be checked, so a client that lies about it deceives its own account only.
        stanza = self._presence_of(full_jid)
        caps = None if stanza is None else stanza.xep0115_caps
        bare = full_jid.partition("/")[0]
        return None if caps is None or caps.ver is None else (bare, f"{caps.node}#{caps.ver}")

    def _presence_of(self, full_jid: str) -> Any:
        address = parsed_jid(full_jid)
        return self._presence.get_peer_resources(address.bare()).get(address.resource)

    async def _find_proxy(self, timeout_s: float) -> StreamHost | None:
        domain = aioxmpp.JID(localpart=None, domain=self._client.local_jid.domain, resource=None)
        items = await ask(self._client, aioxmpp.disco.xso.ItemsQuery(), domain, timeout_s)
        services = [str(item.jid) for item in getattr(items, "items", ()) if item.node is None][:_MOST_SERVICES]
        hosts = await asyncio.gather(*(self._stream_host(jid, timeout_s) for jid in services))
        return next((host for host in hosts if host is not None), None)

    async def _stream_host(self, jid: str, timeout_s: float) -> StreamHost | None:
        try:
            info = await _disco_info(self._client, jid, timeout_s)
            if (info.category, info.type) != ("proxy", "bytestreams"):
                return None
            return await query_streamhost(self._client, jid, timeout_s=timeout_s)
        except JetError:
            return None


def _introduce(client: aioxmpp.Client, features: Iterable[str]) -> None:
    server = client.summon(aioxmpp.DiscoServer)
    # XEP-0030 wants an identity at all times, so the library's own goes after ours has come.
    server.register_identity("client", "console", names={None: CLIENT_NAME})
    server.unregister_identity("client", "bot")
    for feature in features:
        server.register_feature(feature)
    capabilities = client.summon(aioxmpp.EntityCapsService)
    capabilities.xep390_support = False
    version = client.summon(aioxmpp.VersionServer)
    version.name = CLIENT_NAME
    version.version = __version__


async def _disco_info(client: aioxmpp.Client, jid: str, timeout_s: float) -> PeerInfo:
    answer = await ask(client, aioxmpp.disco.xso.InfoQuery(), jid, timeout_s)
    if not isinstance(answer, aioxmpp.disco.xso.InfoQuery):
        raise RemoteProtocolError(f"{shown(jid)} sent an empty answer to disco#info")
    identity = _best(list(answer.identities))
    return PeerInfo(
        jid,
        frozenset(answer.features),
        (identity.name or "") if identity else "",
        identity.category if identity else "",
        identity.type_ if identity else "",
    )


def _best(identities: list[Any]) -> Any:
    """Return the identity that says most: a proxy's or client's before others, one with a name before one without."""
    order = {"proxy": 0, "client": 1}
    return min(identities, key=lambda each: (order.get(each.category, 2), not each.name), default=None)
