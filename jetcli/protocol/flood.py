"""How often a peer may knock: token buckets, the time passed in.

A bucket holds `burst` tokens and gains `rate` of them a second; whoever finds it empty is turned away. What is done
with those who are turned away, and who counts as one peer (a bare JID), is decided where stanzas are routed.
"""

from collections import OrderedDict
from dataclasses import dataclass

#: Stanzas of one peer outside accepted sessions: so many at once, so many a second after that.
STANZA_BURST = 20
STANZAS_PER_S = 5.0
#: A peer that is turned away is told so once a minute, lest jet answers a flood with a flood.
DECLINE_BURST = 1
DECLINES_PER_S = 1 / 60


@dataclass(slots=True)
class TokenBucket:
    """`tokens` left at the moment `at_s`, of at most `burst`; `rate` come back every second."""

    burst: float
    rate: float
    tokens: float
    at_s: float

    def take(self, now_s: float) -> bool:
        """Take one token if there is one; a clock that goes backwards gives none."""
        self.tokens = min(self.burst, self.tokens + max(now_s - self.at_s, 0.0) * self.rate)
        self.at_s = max(now_s, self.at_s)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class PeerBuckets:
    """A bucket a peer, for at most `peers` of them: those silent for longest are forgotten first.

    So a flood under thousands of names costs bounded memory. Forgetting errs to the peer's side: it starts afresh.
    """

    def __init__(self, burst: float, rate: float, *, peers: int = 1024) -> None:
        self._burst = burst
        self._rate = rate
        self._peers = peers
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, peer: str, now_s: float) -> bool:
        """Take one token of `peer` (a bare JID) at the monotonic time `now_s`; False turns the peer away."""
        bucket = self._buckets.setdefault(peer, TokenBucket(self._burst, self._rate, self._burst, now_s))
        self._buckets.move_to_end(peer)
        if len(self._buckets) > self._peers:
            self._buckets.popitem(last=False)
        return bucket.take(now_s)

    def give_back(self, peer: str) -> None:
        """Return a token to `peer`: what it was taken for turned out to be welcome."""
        if (bucket := self._buckets.get(peer)) is not None:
            bucket.tokens = min(bucket.burst, bucket.tokens + 1)

    def __len__(self) -> int:
        return len(self._buckets)
