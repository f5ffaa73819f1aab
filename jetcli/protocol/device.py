"""OMEMO devices as the protocol knows them: whose they are, how far they are trusted, and what one of them sealed."""

from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from jetcli.protocol.model import Cipher, TransportSecret


class Trust(StrEnum):
    """How far a device's key is trusted: blind trust before verification (XEP-0450's BTBV)."""

    VERIFIED = "verified"
    BLIND = "btbv"
    UNDECIDED = "undecided"
    DISTRUSTED = "distrusted"


class Device(Struct, frozen=True):
    """An OMEMO device: `jid` is bare, `identity_key` the 32-byte Ed25519 or Curve25519 key that names it."""

    jid: str
    device_id: int
    identity_key: bytes
    trust: Trust

    @property
    def trusted(self) -> bool:
        """Whether jet seals for this device and believes what it sealed."""
        return self.trust in {Trust.VERIFIED, Trust.BLIND}


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """What an envelope held: 16 or 32 bytes of key material, the IV, and the device that sealed it."""

    key_material: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    device: Device

    def secret(self, cipher: Cipher) -> TransportSecret:
        """Return the secret for `cipher`; raise ValueError where the key material is too short for it."""
        if len(self.key_material) < cipher.key_size:
            raise ValueError(f"{len(self.key_material)} bytes of key material are too short for {cipher.value}")
        return TransportSecret(self.key_material[: cipher.key_size], self.iv)
