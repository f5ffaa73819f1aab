"""Which identity keys are trusted: blind trust before verification (BTBV), and what the user decided.

The rule is a pure function; the book remembers every key that was ever seen, so that a new one is told once. It does
not know how keys are fetched or shown.
"""

from collections.abc import Collection, Iterable
from typing import Literal

from msgspec import Struct

from jetcli.protocol.device import Trust
from jetcli.state.store import Store, damaged

TrustPolicy = Literal["btbv", "verified"]


def first_trust(known: Iterable[Trust], *, own_account: bool, policy: TrustPolicy = "btbv") -> Trust:
    """Return how far a key is trusted when it is seen for the first time.

    `known` are the levels of the contact's other keys. It is trusted blindly until one of them is verified; keys of our
    own account's other devices, and all keys under the policy "verified", are left for the user to decide.
    """
    if own_account or policy == "verified" or Trust.VERIFIED in known:
        return Trust.UNDECIDED
    return Trust.BLIND


class KnownKey(Struct, frozen=True):
    """An identity key of bare JID `jid`; `first_seen` is in wall-clock seconds."""

    jid: str
    identity_key: bytes
    trust: Trust
    first_seen: float


class Judgement(Struct, frozen=True):
    """How far a key is trusted now, and whether it was seen for the first time just now (then show it).

    `stops` says that nothing may be sent before the user has decided: the key is unknown, others of that contact have
    been verified, and nobody named the keys that are meant.
    """

    trust: Trust
    first_time: bool
    stops: bool = False


class TrustBook:
    """The keys of one account's contacts, and of its own other devices. JIDs are bare and prepared."""

    def __init__(
        self, store: Store, policy: TrustPolicy = "btbv", fingerprints: Collection[bytes] = frozenset()
    ) -> None:
        self._store = store
        self._policy = policy
        self._only = frozenset(fingerprints)

    def judge(self, jid: str, identity_key: bytes, *, own_account: bool, now: float) -> Judgement:
        """Return how far the key is trusted, and remember it if it is new.

        Under the policy "verified" a key that was trusted blindly counts as undecided; where `fingerprints` were named,
        these keys count as verified and all others as undecided. What is recorded stays.
        """
        with self._store.transaction():
            known = {key.identity_key: key.trust for key in self.keys(jid)}
            first_time = identity_key not in known
            if first_time:
                known[identity_key] = first_trust(known.values(), own_account=own_account, policy=self._policy)
                self._write(jid, identity_key, known[identity_key], now)
        trust = self._for_this_run(identity_key, known[identity_key])
        verified_others = Trust.VERIFIED in known.values() and not own_account
        stops = trust is Trust.UNDECIDED and verified_others and self._policy == "btbv" and not self._only
        return Judgement(trust, first_time, stops)

    def _for_this_run(self, identity_key: bytes, recorded: Trust) -> Trust:
        if recorded is Trust.DISTRUSTED:
            return recorded
        if self._only:
            return Trust.VERIFIED if identity_key in self._only else Trust.UNDECIDED
        return Trust.UNDECIDED if recorded is Trust.BLIND and self._policy == "verified" else recorded

    def level(self, jid: str, identity_key: bytes) -> Trust | None:
        """Return the recorded level of the key, or None if it was never seen."""
        return next((key.trust for key in self.keys(jid) if key.identity_key == identity_key), None)

    def decide(self, jid: str, identity_key: bytes, trust: Trust, *, now: float) -> None:
        """Record what the user decided about the key, seen before or not."""
        self._write(jid, identity_key, trust, now)

    def jids(self) -> list[str]:
        """Return every bare JID of which a key is known."""
        return [str(jid) for (jid,) in self._store.rows("SELECT DISTINCT jid FROM trust ORDER BY jid")]

    def keys(self, jid: str) -> list[KnownKey]:
        """Return the known keys of `jid`, oldest first; raises SetupError where the database is damaged."""
        sql = "SELECT jid, identity_key, level, first_seen FROM trust WHERE jid = ? ORDER BY first_seen, identity_key"
        try:
            return [KnownKey(name, key, Trust(level), seen) for name, key, level, seen in self._store.rows(sql, (jid,))]
        except ValueError as error:
            raise damaged(self._store.path) from error

    def _write(self, jid: str, identity_key: bytes, trust: Trust, now: float) -> None:
        self._store.change(
            "INSERT INTO trust (jid, identity_key, level, first_seen) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET level = excluded.level",
            (jid, identity_key, trust.value, now),
        )
