"""The ways that the bytes of one session may take: what we offer, and what we answer to an offer."""

import secrets

from jetcli.errors import NetworkError, UnsupportedError
from jetcli.protocol.model import InbandTransport, Socks5Transport, Transport
from jetcli.protocol.policy import shown
from jetcli.transfer.account import Online
from jetcli.transfer.peer import Peer
from jetcli.xmpp.jingle import BLOCK_SIZE
from jetcli.xmpp.negotiation import Negotiation


async def offered_transport(online: Online, peer: Peer, negotiation: Negotiation) -> Transport:
    """Return the transport to offer `peer`; raises UnsupportedError where the user wants one that it lacks."""
    able = peer.abilities
    if online.network.path == "ibb" or not able.socks5:
        if not able.inband:
            raise UnsupportedError(f"{shown(peer.jid)} takes no in-band transfers")
        return InbandTransport(secrets.token_hex(8), BLOCK_SIZE)
    return await negotiation.candidates.offer(secrets.token_hex(8), await online.proxies())


async def accepted_transport(
    online: Online, negotiation: Negotiation, offered: Socks5Transport | InbandTransport
) -> Transport:
    """Return our side of the transport that the peer offered; only now our addresses are gathered.

    Raises NetworkError for one that the user does not want, as it ends where the peer changes to that one later.
    """
    if isinstance(offered, InbandTransport):
        if online.network.path not in {"auto", "ibb"}:
            peer = shown(negotiation.session.peer)
            raise NetworkError(f"no usable connection to {peer}: the peer offered in-band, which is not allowed here")
        return InbandTransport(offered.sid, min(offered.block_size, BLOCK_SIZE))
    proxies = await online.proxies()
    return await negotiation.candidates.offer(offered.sid, proxies, taken=offered.candidates)


def no_transport(offered: Socks5Transport | InbandTransport) -> Transport:
    """Return our side of a transport over which nothing will go."""
    return offered if isinstance(offered, InbandTransport) else Socks5Transport(offered.sid)
