"""Which devices this account has met, read from storage without the OMEMO libraries.

Owns the names under which `omemo_ratchet` keeps identities, so that `jet trust` and `jet status` need neither network
nor the half second that the libraries take to load.
"""

import base64
import json
from collections.abc import Iterable
from typing import Protocol

OWN_ID = "/jet/own_device_id"
OWN_IDENTITY = "/jet/own_identity"

_IDENTITIES = "/jet/identity/"

#: The prime of Curve25519.
_P = 2**255 - 19


class NamedStorage(Protocol):
    """Key-values that can be listed."""

    def load(self, key: str) -> str | None:
        """Return the text stored under `key`, or None."""

    def names(self, prefix: str) -> Iterable[str]:
        """Return every key that starts with `prefix`."""


def identity_name(bare_jid: str, device_id: int) -> str:
    """Return the name under which the identity key of a device is kept, in its Ed25519 form and base64."""
    return f"{_IDENTITIES}{bare_jid}/{device_id}"


def met_devices(storage: NamedStorage, bare_jid: str) -> dict[int, bytes]:
    """Return the identity key (Curve25519) of every device of `bare_jid` that was met, by its id."""
    prefix = f"{_IDENTITIES}{bare_jid}/"
    found: dict[int, bytes] = {}
    for name in storage.names(prefix):
        text = storage.load(name)
        if text is not None:
            found[int(name.removeprefix(prefix))] = _montgomery(base64.b64decode(json.loads(text)))
    return found


def own_device(storage: NamedStorage) -> tuple[int, bytes] | None:
    """Return id and identity key (Curve25519) of our own device, None before it was made."""
    device_id, key = storage.load(OWN_ID), storage.load(OWN_IDENTITY)
    return None if device_id is None or key is None else (int(device_id), bytes.fromhex(json.loads(key)))


def _montgomery(ed25519: bytes) -> bytes:
    """Return the Curve25519 form of an Ed25519 public key: u = (1 + y) / (1 - y) (RFC 7748 section 4.1)."""
    y = int.from_bytes(ed25519, "little") & (2**255 - 1)
    return ((1 + y) * pow(1 - y, -1, _P) % _P).to_bytes(32, "little")
