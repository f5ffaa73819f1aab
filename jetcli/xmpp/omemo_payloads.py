"""The four legacy OMEMO elements (XEP-0384 version 0.3) as payload classes, and what they say as plain values.

Owns the XML of device list, bundle and encrypted element. Every attribute and child is optional for aioxmpp, so that
what a peer left out is judged here, and everything that does not parse is a RemoteProtocolError. Knows no ratchet:
a bundle is public keys as bytes, an envelope is the model's.

`oldmemo.etree` does the same and is not used: it costs 0.6 s at every start and replaces the IV of an element without
payload by a random one.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Self

import aioxmpp
import aioxmpp.pubsub.xso
from aioxmpp import xso
from msgspec import Struct

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.model import IV_SIZE, NS_OMEMO, Envelope, EnvelopeKey
from jetcli.protocol.policy import shown

NODE_DEVICES = f"{NS_OMEMO}.devicelist"

#: Device ids beyond this are dropped by clients that read them as signed 32-bit numbers.
MAX_DEVICE_ID = 2**31 - 1

#: More than any account has; bounds what one element can make us do.
MAX_KEYS = 1000
MAX_KEY_TEXT = 4096

#: Dino sent 16-byte IVs until 2020, and GCM takes them.
_IV_SIZES = (IV_SIZE, 16)
_NUMBER = re.compile(r"[0-9]{1,10}")
_CURVE25519 = b"\x05"


class PublicBundle(Struct, frozen=True):
    """The public keys of one device: Curve25519, 32 bytes each, without the type byte.

    The highest bit of the 64-byte `signature` is the sign of the identity key in its Ed25519 form.
    """

    identity_key: bytes
    signed_pre_key: bytes
    signed_pre_key_id: int
    signature: bytes
    pre_keys: Mapping[int, bytes]


def bundle_node(device_id: int) -> str:
    """Return the name of the PEP node that holds the bundle of a device."""
    return f"{NS_OMEMO}.bundles:{device_id}"


def is_device_id(number: int) -> bool:
    """Say whether every client can address a device by this id."""
    return 1 <= number <= MAX_DEVICE_ID


class DeviceElement(xso.XSO):
    """`<device/>` of a device list."""

    TAG = (NS_OMEMO, "device")

    id_ = xso.Attr("id", default=None)


@aioxmpp.pubsub.xso.as_payload_class
class DeviceList(xso.XSO):
    """`<list/>`: the ids of an account's devices (XEP-0384 version 0.3 section 4.2)."""

    TAG = (NS_OMEMO, "list")

    devices = xso.ChildList([DeviceElement])

    @classmethod
    def from_ids(cls, ids: Iterable[int]) -> Self:
        """Make the element that lists `ids`."""
        element = cls()
        for number in ids:
            device = DeviceElement()
            device.id_ = str(number)
            element.devices.append(device)
        return element

    def ids(self) -> tuple[int, ...]:
        """Return every listed id once, usable or not; raise RemoteProtocolError where one is no number."""
        return tuple(dict.fromkeys(_number("device id", device.id_) for device in self.devices))


class SignedPreKeyElement(xso.XSO):
    """`<signedPreKeyPublic/>` of a bundle."""

    TAG = (NS_OMEMO, "signedPreKeyPublic")

    id_ = xso.Attr("signedPreKeyId", default=None)
    text = xso.Text(default=None)


class PreKeyElement(xso.XSO):
    """`<preKeyPublic/>` of a bundle."""

    TAG = (NS_OMEMO, "preKeyPublic")

    id_ = xso.Attr("preKeyId", default=None)
    text = xso.Text(default=None)


class PreKeysElement(xso.XSO):
    """`<prekeys/>` of a bundle."""

    TAG = (NS_OMEMO, "prekeys")

    pre_keys = xso.ChildList([PreKeyElement])


@aioxmpp.pubsub.xso.as_payload_class
class Bundle(xso.XSO):
    """`<bundle/>`: what it takes to start a session with a device (XEP-0384 version 0.3 section 4.3)."""

    TAG = (NS_OMEMO, "bundle")

    signed_pre_key = xso.Child([SignedPreKeyElement])
    signature = xso.ChildText((NS_OMEMO, "signedPreKeySignature"), default=None)
    identity_key = xso.ChildText((NS_OMEMO, "identityKey"), default=None)
    pre_keys = xso.Child([PreKeysElement])

    @classmethod
    def from_keys(cls, keys: PublicBundle) -> Self:
        """Make the element that publishes `keys`."""
        element = cls()
        element.signed_pre_key = SignedPreKeyElement()
        element.signed_pre_key.id_ = str(keys.signed_pre_key_id)
        element.signed_pre_key.text = _base64(_CURVE25519 + keys.signed_pre_key)
        element.signature = _base64(keys.signature)
        element.identity_key = _base64(_CURVE25519 + keys.identity_key)
        element.pre_keys = PreKeysElement()
        for number, key in keys.pre_keys.items():
            pre_key = PreKeyElement()
            pre_key.id_ = str(number)
            pre_key.text = _base64(_CURVE25519 + key)
            element.pre_keys.pre_keys.append(pre_key)
        return element

    def keys(self) -> PublicBundle:
        """Return the published keys; raise RemoteProtocolError where one is missing or malformed."""
        if self.signed_pre_key is None or self.pre_keys is None or not 0 < len(self.pre_keys.pre_keys) <= MAX_KEYS:
            raise _refused("a bundle lacks its prekeys")
        signature = _bytes("signature", self.signature)
        if len(signature) != 64:
            raise _refused("a bundle has a signature of the wrong size")
        return PublicBundle(
            identity_key=_public_key("identity key", self.identity_key),
            signed_pre_key=_public_key("signed prekey", self.signed_pre_key.text),
            signed_pre_key_id=_number("signed prekey id", self.signed_pre_key.id_),
            signature=signature,
            pre_keys={
                _number("prekey id", element.id_): _public_key("prekey", element.text)
                for element in self.pre_keys.pre_keys
            },
        )


class KeyElement(xso.XSO):
    """`<key/>`: the key material for one device."""

    TAG = (NS_OMEMO, "key")

    rid = xso.Attr("rid", default=None)
    prekey = xso.Attr("prekey", default=None)
    text = xso.Text(default=None)


class HeaderElement(xso.XSO):
    """`<header/>` of an encrypted element."""

    TAG = (NS_OMEMO, "header")

    sid = xso.Attr("sid", default=None)
    keys = xso.ChildList([KeyElement])
    iv = xso.ChildText((NS_OMEMO, "iv"), default=None)


class Encrypted(xso.XSO):
    """`<encrypted/>`: an OMEMO message, or an envelope inside `<security/>` (XEP-0396 section 3)."""

    TAG = (NS_OMEMO, "encrypted")

    header = xso.Child([HeaderElement])
    payload = xso.ChildText((NS_OMEMO, "payload"), default=None)

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> Self:
        """Make the element for `envelope`; an empty payload is written as one blank, which keeps Libervia's IV."""
        element = cls()
        element.header = HeaderElement()
        element.header.sid = str(envelope.sender)
        element.header.iv = _base64(envelope.iv)
        for key in envelope.keys:
            child = KeyElement()
            child.rid = str(key.device)
            child.prekey = "true" if key.prekey else None
            child.text = _base64(key.data)
            element.header.keys.append(child)
        if envelope.payload is not None:
            element.payload = _base64(envelope.payload) or " "
        return element

    def envelope(self) -> Envelope:
        """Return what the element says; raise RemoteProtocolError (`security-error`) where it breaks its schema.

        Keys for ids that no client can have are left out.
        """
        if self.header is None or len(self.header.keys) > MAX_KEYS:
            raise _refused("an OMEMO element has no usable header")
        sender = _number("sender device id", self.header.sid)
        iv = _bytes("IV", self.header.iv)
        if not is_device_id(sender) or len(iv) not in _IV_SIZES:
            raise _refused("an OMEMO header names no device, or has an IV of the wrong size")
        keys = [_envelope_key(element) for element in self.header.keys]
        payload = None if self.payload is None else _bytes("payload", self.payload, limit=None, empty=True)
        return Envelope(sender, iv, tuple(key for key in keys if is_device_id(key.device)), payload)


# Bound once: aioxmpp can neither unbind a descriptor nor have two classes for one tag.
aioxmpp.Message.xep0384_encrypted = xso.Child([Encrypted])


def _envelope_key(element: KeyElement) -> EnvelopeKey:
    prekey = (element.prekey or "false").strip().lower()
    if prekey not in {"true", "1", "false", "0"}:
        raise _refused(f"an OMEMO key has prekey '{shown(prekey, 20)}'")
    return EnvelopeKey(_number("device id", element.rid), _bytes("key", element.text), prekey in {"true", "1"})


def _number(name: str, text: str | None) -> int:
    if text is None or _NUMBER.fullmatch(text) is None or int(text) > 2**32 - 1:
        raise _refused(f"an OMEMO element has no valid {name}")
    return int(text)


def _public_key(name: str, text: str | None) -> bytes:
    key = _bytes(name, text)
    if len(key) != 33 or key[:1] != _CURVE25519:
        raise _refused(f"a bundle has no valid {name}")
    return key[1:]


def _bytes(name: str, text: str | None, *, limit: int | None = MAX_KEY_TEXT, empty: bool = False) -> bytes:
    """Decode base64; the schema of these elements (xs:base64Binary) allows white space in it."""
    joined = "".join((text or "").split())
    if limit is not None and len(joined) > limit:
        raise _refused(f"an OMEMO element has an oversized {name}")
    try:
        data = binascii.a2b_base64(joined, strict_mode=True)
    except ValueError:
        raise _refused(f"an OMEMO element has no valid {name}") from None
    if not data and not empty:
        raise _refused(f"an OMEMO element has an empty {name}")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _refused(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(message, condition="security-error")
