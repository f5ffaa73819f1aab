"""What was seen once and binds from then on: envelopes, peers of the chunked cipher, a login by SCRAM.

Each of these is a door that an attacker would like to open again: a replayed envelope, a downgrade of the cipher, a
downgrade of the login. They only remember; refusing is done by those who ask.
"""

import hashlib

from jetcli.state.store import Store

_DAY_S = 86_400.0

#: How long an envelope is remembered. The ratchet refuses repeats as well; this covers a ratchet that was replaced.
KEPT_S = 90 * _DAY_S

_SCRAM = "scram-used"


class SeenEnvelopes:
    """Which pairs of device and IV have been used, as hashes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def first_time(self, device_key: bytes, iv: bytes, now: float) -> bool:
        """Record that the device `device_key` used `iv`; return False if that was known already.

        Exactly one of several processes that ask at once gets True. Records older than 90 days are dropped.
        """
        digest = hashlib.sha256(len(device_key).to_bytes(4) + device_key + iv).digest()
        with self._store.transaction():
            self._store.change("DELETE FROM seen_envelopes WHERE seen < ?", (now - KEPT_S,))
            return self._store.change("INSERT OR IGNORE INTO seen_envelopes VALUES (?, ?)", (digest, now)) == 1


class ChunkedPeers:
    """The devices that have spoken the chunked cipher: from them a plain stream is a downgrade."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, device_key: bytes, now: float) -> None:
        """Record that the device with this identity key has spoken the chunked cipher."""
        self._store.change("INSERT OR IGNORE INTO chunked_peers VALUES (?, ?)", (device_key, now))

    def knows(self, device_key: bytes) -> bool:
        """Return whether the device has ever spoken the chunked cipher."""
        return bool(self._store.rows("SELECT 1 FROM chunked_peers WHERE device_key = ?", (device_key,)))

    def forget(self, device_key: bytes) -> None:
        """Allow the device a plain stream again, because the user said so."""
        self._store.change("DELETE FROM chunked_peers WHERE device_key = ?", (device_key,))


class ScramSeen:
    """Whether this account has ever logged in by SCRAM: PLAIN is out of the question afterwards."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def remember(self, now: float) -> None:
        """Record a login by SCRAM."""
        self._store.change("INSERT OR IGNORE INTO facts VALUES (?, ?)", (_SCRAM, now))

    def known(self) -> bool:
        """Return whether there was one."""
        return bool(self._store.rows("SELECT 1 FROM facts WHERE name = ?", (_SCRAM,)))
