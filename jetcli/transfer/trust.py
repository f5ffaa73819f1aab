"""The keys that an account knows: whose they are, how far they are trusted, and what its user decides about them.

Reads and writes the account's state; only `published` needs the network. Imports nothing that is slow to load, so
that `jet trust` answers at once.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from jetcli.protocol.device import Trust
from jetcli.state.locks import account_lock
from jetcli.state.store import KeyValues, Store
from jetcli.state.trust import TrustBook
from jetcli.xmpp.omemo_names import met_devices, own_device

if TYPE_CHECKING:
    from jetcli.transfer.account import Online


class KeyRow(Struct, frozen=True):
    """An identity key of bare JID `jid`; `device_id` is None where its device is not known.

    `first_seen` is in wall-clock seconds, None for one that was never met.
    """

    jid: str
    device_id: int | None
    identity_key: bytes
    trust: Trust
    first_seen: float | None = None


def own_key(directory: Path, jid: str) -> KeyRow | None:
    """Return the key of our own device of account `jid` from its state in `directory`, None before the first login."""
    if not (directory / "state.db").exists():
        return None
    with Store.open(directory) as store:
        own = own_device(KeyValues(store))
    return None if own is None else KeyRow(jid, *own, Trust.VERIFIED)


def known_keys(directory: Path, jid: str) -> list[KeyRow]:
    """Return the keys of bare JID `jid` that the account with its state in `directory` has met, oldest first."""
    if not (directory / "state.db").exists():
        return []
    with Store.open(directory) as store:
        devices = {key: device_id for device_id, key in met_devices(KeyValues(store), jid).items()}
        known = TrustBook(store).keys(jid)
    rows = [KeyRow(jid, devices.pop(k.identity_key, None), k.identity_key, k.trust, k.first_seen) for k in known]
    return rows + [KeyRow(jid, device_id, key, Trust.UNDECIDED) for key, device_id in devices.items()]


def contacts(directory: Path) -> list[str]:
    """Return every bare JID of which the account with its state in `directory` has met a key."""
    if not (directory / "state.db").exists():
        return []
    with Store.open(directory) as store:
        return TrustBook(store).jids()


async def published(online: "Online", jid: str) -> list[KeyRow]:
    """Return the keys that `jid` publishes now; nothing is recorded of their trust.

    Raises UnsupportedError where there is none, UnavailableError or NetworkError as fetching fails.
    """
    devices = await online.omemo.devices(jid)
    return [KeyRow(jid, device.device_id, device.identity_key, device.trust) for device in devices]


async def decide(directory: Path, jid: str, keys: Iterable[bytes], trust: Trust, *, command: str) -> None:
    """Record what the user decided about `keys` of bare JID `jid`, met before or not. Raises SetupError."""
    with Store.open(directory) as store:
        async with account_lock(directory, "omemo", command=command):
            with store.transaction():
                for key in keys:
                    TrustBook(store).decide(jid, key, trust, now=time.time())
