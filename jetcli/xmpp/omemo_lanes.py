"""The OMEMO messages that have arrived, a lane for each account: nobody waits for the answers of another's server.

Owns whose message waits and whose is dropped. A dropped one does no harm: the ratchet skips it. What is done with a
message is handed in.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from jetcli.protocol.flood import PeerBuckets, TokenBucket
from jetcli.xmpp.omemo_pep import MAX_WAITING, Received
from jetcli.xmpp.omemo_strangers import Standing

#: What somebody who is no contact may send: a chat at its liveliest.
PEER_BURST = 10
PEER_PER_S = 0.2
#: And all strangers together: a ratchet step of theirs takes up to a tenth of a second.
STRANGERS_BURST = 20
STRANGERS_PER_S = 0.5

_log = logging.getLogger(__name__)


class Lanes:
    """Messages by bare JID. `feed` takes one up, `spawn` runs a lane beside everything else while it has messages."""

    def __init__(
        self,
        feed: Callable[[Received, Standing], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._feed = feed
        self._spawn = spawn
        self._lanes: dict[str, deque[tuple[Received, Standing, Callable[[], None]]]] = {}
        self._peers = PeerBuckets(PEER_BURST, PEER_PER_S)
        self._strangers = TokenBucket(
            STRANGERS_BURST, STRANGERS_PER_S, STRANGERS_BURST, asyncio.get_running_loop().time()
        )

    def put(self, bare_jid: str, message: Received, standing: Standing, done: Callable[[], None]) -> None:
        """Let a message wait for its turn, or drop it where its sender has had enough.

        `done` is called when nobody needs to wait for it any more: for strangers that is at once.
        """
        if standing is not Standing.CLOSE:
            done()
            done = _nothing
        lane = self._lanes.get(bare_jid, ())
        if not self._allowed(bare_jid, standing) or len(lane) >= MAX_WAITING:
            _log.info("dropped an OMEMO message: its sender has sent too many")
            done()
            return
        if bare_jid not in self._lanes:
            self._lanes[bare_jid] = deque()
            self._spawn(self._drain(bare_jid))
        self._lanes[bare_jid].append((message, standing, done))

    def _allowed(self, bare_jid: str, standing: Standing) -> bool:
        now_s = asyncio.get_running_loop().time()
        if standing is not Standing.CLOSE and not self._peers.take(bare_jid, now_s):
            return False
        return standing is not Standing.STRANGER or self._strangers.take(now_s)

    async def _drain(self, bare_jid: str) -> None:
        lane = self._lanes[bare_jid]
        try:
            while lane:
                message, standing, done = lane.popleft()
                try:
                    await self._feed(message, standing)
                finally:
                    done()
        finally:
            del self._lanes[bare_jid]


def _nothing() -> None:
    pass
