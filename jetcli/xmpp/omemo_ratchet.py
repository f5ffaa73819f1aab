"""Our OMEMO device and its ratchets: with `omemo_storage` the only module that imports omemo and oldmemo.

Owns the keys in storage: which identity key each device has, the sessions, our prekeys. Every method is one plain
call that reads and writes storage and nothing else, so that a caller can wrap it in a lock and a transaction; what has
to be fetched or sent is handed in and out as values. Refuses to know networks, trust and asyncio.

python-omemo's SessionManager is not used: it seals for our own devices too, fetches and sends in the middle of an
operation, rotates keys in a task outside any lock, and logs key material at DEBUG (`omemo.core`). Its backend for
legacy OMEMO does the cryptography here.
"""

import base64
import contextlib
import json
import logging
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field

from jetcli.xmpp import late_schemas as _late_schemas  # noqa: F401  (before the libraries are imported)

# isort: split
import doubleratchet
import omemo
import x3dh
import xeddsa
from oldmemo.oldmemo import (
    BundleImpl,
    EncryptedKeyMaterialImpl,
    KeyExchangeImpl,
    Oldmemo,
    PlainKeyMaterialImpl,
    SessionImpl,
)
from omemo.identity_key_pair import IdentityKeyPair
from omemo.session import Initiation

from jetcli.protocol.model import Envelope, EnvelopeKey
from jetcli.xmpp.omemo_names import OWN_ID, identity_name
from jetcli.xmpp.omemo_payloads import MAX_DEVICE_ID, PublicBundle
from jetcli.xmpp.omemo_storage import KeyValueStorage, LibraryStorage, at_once

#: The library's default of 1,000 would lock jet out of a session after a busy week of chat that it never saw.
MAX_SKIPPED = 10_000

#: A skipped key costs 0.08 ms when it is made, as much at every later message, and 310 bytes of storage: so many are a
#: small part of a tenth of a second and 80 kB, where those of a contact may be 0.8 s and 3 MB.
MAX_SKIPPED_OF_STRANGERS = 250

#: Ids of two accounts' devices are the same once in two thousand millions; each key that is tried costs as above.
MAX_TRIED = 2

PRE_KEYS = 100
ROTATION_S = 7 * 24 * 3600.0

#: A peer that goes on without an answer never steps its ratchet: one empty message in so many moves it on.
STALE_AFTER = 53

_UNPUBLISHED = "/jet/unpublished"
_KEY_SIZE = PlainKeyMaterialImpl.KEY_LENGTH

# At DEBUG these loggers write plaintext and key material; a level of their own keeps them silent whatever `-vv` says.
logging.getLogger("omemo.core").setLevel(logging.WARNING)


class CannotOpenError(Exception):
    """No session opens a ratchet message, and none can be made from it."""


class DuplicateError(CannotOpenError):
    """A ratchet message was opened before."""


class NotForUsError(CannotOpenError):
    """An envelope has no key for our device."""


class KeyChangedError(CannotOpenError):
    """A device shows another identity key than before."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope held, and the empty message that answers it, if one is due."""

    key_material: bytes = field(repr=False)
    answer: Envelope | None = None


class Ratchet:
    """Our device of the account `own_jid` (bare), with all its sessions, in `storage`."""

    def __init__(self, storage: KeyValueStorage, own_jid: str) -> None:
        self._storage = storage
        self._own_jid = own_jid
        # The session before the current one: two devices that start sessions at the same time each end up on the
        # other's, and with one place for it neither could read the other.
        places = (LibraryStorage(storage), LibraryStorage(storage, "/jet/previous"))
        self._current, self._previous = (Oldmemo(place, MAX_SKIPPED) for place in places)
        #: The same two, of which a stranger's message skips less.
        self._wary = tuple(Oldmemo(place, MAX_SKIPPED_OF_STRANGERS) for place in places)

    # Our own device

    @property
    def device_id(self) -> int | None:
        """The id of our device, None before `create`."""
        text = self._storage.load(OWN_ID)
        return None if text is None else int(text)

    @property
    def identity_key(self) -> bytes:
        """Our public identity key, Curve25519."""
        pair = at_once(IdentityKeyPair.get(LibraryStorage(self._storage)))
        return xeddsa.ed25519_pub_to_curve25519_pub(pair.identity_key)

    def create(self, taken: Collection[int]) -> None:
        """Make our device, under an id that is not in `taken`."""
        device_id = secrets.randbelow(MAX_DEVICE_ID) + 1
        while device_id in taken:
            device_id = secrets.randbelow(MAX_DEVICE_ID) + 1
        at_once(self._current.generate_pre_keys(PRE_KEYS))
        self._storage.store(OWN_ID, str(device_id))
        self.unpublished = True

    @property
    def unpublished(self) -> bool:
        """Whether our bundle has changed since it was last published."""
        return self._storage.load(_UNPUBLISHED) is not None

    @unpublished.setter
    def unpublished(self, value: bool) -> None:
        if value:
            self._storage.store(_UNPUBLISHED, "true")
        else:
            self._storage.delete(_UNPUBLISHED)

    def bundle(self) -> PublicBundle:
        """Return our public keys as they are to be published."""
        own = at_once(self._current.get_bundle(self._own_jid, self._require_id()))
        sign = own.identity_key[31] & 0x80
        signature = own.bundle.signed_pre_key_sig
        return PublicBundle(
            identity_key=xeddsa.ed25519_pub_to_curve25519_pub(own.identity_key),
            signed_pre_key=own.bundle.signed_pre_key,
            signed_pre_key_id=own.signed_pre_key_id,
            signature=signature[:63] + bytes([signature[63] | sign]),
            pre_keys={number: key for key, number in sorted(own.pre_key_ids.items(), key=lambda item: item[1])},
        )

    def refresh(self) -> None:
        """Fill our prekeys up, and replace our signed one where it is a week old (XEP-0384 version 0.3 section 5.1)."""
        missing = PRE_KEYS - at_once(self._current.get_num_visible_pre_keys())
        if missing:
            at_once(self._current.generate_pre_keys(missing))
            self.unpublished = True
        if at_once(self._current.signed_pre_key_age()) > ROTATION_S:
            at_once(self._current.rotate_signed_pre_key())
            self.unpublished = True

    # Other devices

    def identity_of(self, bare_jid: str, device_id: int) -> bytes | None:
        """Return the identity key (Curve25519) of a device, None where its bundle was never learnt."""
        identity = self._identity(bare_jid, device_id)
        return None if identity is None else xeddsa.ed25519_pub_to_curve25519_pub(identity)

    def has_session(self, bare_jid: str, device_id: int) -> bool:
        """Say whether we can seal for a device without its bundle."""
        return at_once(self._current.load_session(bare_jid, device_id)) is not None

    def is_unanswered(self, bare_jid: str, device_id: int) -> bool:
        """Say whether we have begun a session with a device that has never shown that it knows it."""
        session = at_once(self._current.load_session(bare_jid, device_id))
        return session is not None and _carries_exchange(session)

    def learn(self, bare_jid: str, device_id: int, bundle: PublicBundle) -> None:
        """Remember the identity key that a device publishes.

        Raises KeyChangedError where it published another one before, CannotOpenError where the key is unusable.
        """
        known = self.identity_of(bare_jid, device_id)
        if known is not None and known != bundle.identity_key:
            raise KeyChangedError(f"device {device_id} publishes another identity key than before")
        try:
            identity = _library_bundle(bare_jid, device_id, bundle).identity_key
            xeddsa.ed25519_pub_to_curve25519_pub(identity)
        except (ValueError, xeddsa.XEdDSAException):
            raise CannotOpenError(f"device {device_id} publishes an unusable identity key") from None
        text = json.dumps(base64.b64encode(identity).decode("ascii"))
        self._storage.store(identity_name(bare_jid, device_id), text)

    def forget(self, bare_jid: str, ids: Collection[int]) -> None:
        """Forget the keys of these devices, and all sessions with their account."""
        for device_id in ids:
            self._storage.delete(identity_name(bare_jid, device_id))
        for backend in (self._current, self._previous):
            with contextlib.suppress(KeyError):  # the library's, for an account that it has no session with
                at_once(backend.purge_bare_jid(bare_jid))

    # Sealing and opening

    def seal(
        self,
        bare_jid: str,
        device_id: int,
        key_material: bytes,
        bundle: PublicBundle | None = None,
        *,
        anew: bool = False,
    ) -> EnvelopeKey | None:
        """Encrypt 16 or 32 bytes of key material for one device, bare: no tag is added.

        Starts a session from `bundle` where there is none, with `anew` also where none was ever answered; None where
        the bundle is missing then, or its signature is wrong.
        """
        material = _plain(key_material)
        session = at_once(self._current.load_session(bare_jid, device_id))
        if session is not None and not (anew and bundle is not None and _carries_exchange(session)):
            message = at_once(self._current.encrypt_key_material(session, material))
            at_once(self._current.store_session(session))
            return _envelope_key(session, message)
        return None if bundle is None else self._start(bare_jid, device_id, material, bundle)

    def replace(self, bare_jid: str, device_id: int, bundle: PublicBundle) -> Envelope | None:
        """Start a new session with a device; return the empty message that tells it, None where that fails."""
        key = self._start(bare_jid, device_id, _fresh(), bundle)
        return None if key is None else self._empty(key)

    def open(self, bare_jid: str, envelope: Envelope, *, wary: bool = False) -> Opened:
        """Decrypt the key material that `envelope` holds for us; its sender's identity key must be known.

        Several keys may carry our id, since ids are unique only within an account: two are tried. `wary` skips no more
        messages than a stranger may have us skip. Raises CannotOpenError or a subclass of it; nothing has changed then.
        """
        own_id = self._require_id()
        failures: list[CannotOpenError] = []
        for key in [key for key in envelope.keys if key.device == own_id][:MAX_TRIED]:
            try:
                return self._open_key(bare_jid, envelope.sender, key, wary=wary)
            except CannotOpenError as error:
                failures.append(error)
        duplicates = [error for error in failures if isinstance(error, DuplicateError)]
        raise (duplicates or failures or [NotForUsError("it holds no key for our device")])[0]

    def _open_key(self, bare_jid: str, device_id: int, key: EnvelopeKey, *, wary: bool) -> Opened:
        exchange, message = self._parse(bare_jid, device_id, key)
        duplicate = False
        current, previous = self._wary if wary else (self._current, self._previous)
        for backend in (current, previous):
            session = at_once(backend.load_session(bare_jid, device_id))
            if session is None or (exchange is not None and not _began_with(session, exchange)):
                continue
            try:
                material = at_once(backend.decrypt_key_material(session, message))
            except omemo.DecryptionFailed as error:
                duplicate = duplicate or isinstance(error.__cause__, doubleratchet.DuplicateMessageException)
                continue
            if backend is current:
                at_once(self._current.store_session(session))
            else:
                self._make_current(session)
            return self._opened(session, material)
        if duplicate:
            raise DuplicateError("it was opened before")
        if exchange is None:
            raise CannotOpenError("it belongs to no session with that device")
        return self._accept(current, bare_jid, device_id, exchange, message)

    def _parse(
        self, bare_jid: str, device_id: int, key: EnvelopeKey
    ) -> tuple[KeyExchangeImpl | None, EncryptedKeyMaterialImpl]:
        identity = self._identity(bare_jid, device_id)
        if identity is None:
            raise CannotOpenError("its sender's identity key is not known")
        exchange, data = None, key.data
        try:
            if key.prekey:
                exchange, data = KeyExchangeImpl.parse(data, bool(identity[31] >> 7))
            message = EncryptedKeyMaterialImpl.parse(data, self._own_jid, key.device)
        except (ValueError, xeddsa.XEdDSAException):
            raise CannotOpenError("its key is malformed") from None
        if exchange is not None and exchange.identity_key != identity:
            raise KeyChangedError("its key exchange names another identity key than its device publishes")
        return exchange, message

    def _accept(
        self,
        backend: Oldmemo,
        bare_jid: str,
        device_id: int,
        exchange: KeyExchangeImpl,
        message: EncryptedKeyMaterialImpl,
    ) -> Opened:
        try:
            session, material = at_once(backend.build_session_passive(bare_jid, device_id, exchange, message))
        except (omemo.KeyExchangeFailed, omemo.DecryptionFailed, ValueError, xeddsa.XEdDSAException) as error:
            raise CannotOpenError("its key exchange fails") from error
        self._make_current(session)
        if at_once(self._current.delete_pre_key(session)):
            # The prekey that replaces it is made with the next bundle: somebody is waiting for this envelope.
            self.unpublished = True
        return self._opened(session, material)

    def _opened(self, session: SessionImpl, material: PlainKeyMaterialImpl) -> Opened:
        """Pack what was decrypted; answer a key exchange once, and a peer that has long heard nothing from us."""
        unanswered = session.sending_chain_length == 0 and not session.confirmed
        stale = (session.receiving_chain_length or 0) % (STALE_AFTER + 1) == STALE_AFTER
        answer = None
        if unanswered or stale:
            key = self.seal(session.bare_jid, session.device_id, _bytes(_fresh()))
            answer = None if key is None else self._empty(key)
        return Opened(_bytes(material), answer)

    def _start(
        self, bare_jid: str, device_id: int, material: PlainKeyMaterialImpl, bundle: PublicBundle
    ) -> EnvelopeKey | None:
        try:
            self.learn(bare_jid, device_id, bundle)
            foreign = _library_bundle(bare_jid, device_id, bundle)
            session, message = at_once(self._current.build_session_active(bare_jid, device_id, foreign, material))
        except (CannotOpenError, omemo.KeyExchangeFailed, ValueError, xeddsa.XEdDSAException):
            return None
        self._make_current(session)
        return _envelope_key(session, message)

    def _make_current(self, session: SessionImpl) -> None:
        before = at_once(self._current.load_session(session.bare_jid, session.device_id))
        if before is not None:
            at_once(self._previous.store_session(before))
        at_once(self._current.store_session(session))

    def _empty(self, key: EnvelopeKey) -> Envelope:
        return Envelope(self._require_id(), secrets.token_bytes(12), (key,))

    def _identity(self, bare_jid: str, device_id: int) -> bytes | None:
        text = self._storage.load(identity_name(bare_jid, device_id))
        return None if text is None else base64.b64decode(json.loads(text))

    def _require_id(self) -> int:
        device_id = self.device_id
        if device_id is None:
            raise RuntimeError("our OMEMO device has not been created")
        return device_id


def _library_bundle(bare_jid: str, device_id: int, bundle: PublicBundle) -> BundleImpl:
    """Translate a bundle; raise ValueError or XEdDSAException where its identity key is no point of the curve."""
    sign = bool(bundle.signature[63] >> 7)
    keys = x3dh.Bundle(
        xeddsa.curve25519_pub_to_ed25519_pub(bundle.identity_key, sign),
        bundle.signed_pre_key,
        bundle.signature[:63] + bytes([bundle.signature[63] & 0x7F]),
        frozenset(bundle.pre_keys.values()),
    )
    numbers = {key: number for number, key in bundle.pre_keys.items()}
    return BundleImpl(bare_jid, device_id, keys, bundle.signed_pre_key_id, numbers)


def _began_with(session: SessionImpl, exchange: KeyExchangeImpl) -> bool:
    return session.initiation is Initiation.PASSIVE and session.key_exchange.builds_same_session(exchange)


def _envelope_key(session: SessionImpl, message: EncryptedKeyMaterialImpl) -> EnvelopeKey:
    """Serialise a ratchet message, with our key exchange until the peer has shown that it knows the session."""
    data = message.serialize()
    if not _carries_exchange(session):
        return EnvelopeKey(session.device_id, data)
    return EnvelopeKey(session.device_id, session.key_exchange.serialize(data)[0], prekey=True)


def _carries_exchange(session: SessionImpl) -> bool:
    """Say whether our messages repeat the key exchange, as they do until the peer has answered."""
    return session.initiation is Initiation.ACTIVE and not session.confirmed


def _plain(key_material: bytes) -> PlainKeyMaterialImpl:
    return PlainKeyMaterialImpl(key_material[:_KEY_SIZE], key_material[_KEY_SIZE:])


def _fresh() -> PlainKeyMaterialImpl:
    return _plain(secrets.token_bytes(_KEY_SIZE))


def _bytes(material: PlainKeyMaterialImpl) -> bytes:
    return material.key + material.auth_tag
