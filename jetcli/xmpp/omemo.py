"""Envelopes: seal a transport secret for a contact's devices, open one from a contact (XEP-0396).

Owns what a device must be before jet seals for it or believes it: published by its account, with the key it had
before, trusted by the policy that is handed in, and not ourselves. Our own device and its ratchet are kept by
`omemo_device`, the cryptography is `omemo_ratchet`'s, the stanzas are `omemo_pep`'s.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from jetcli.errors import RemoteProtocolError, TrustError, UnsupportedError
from jetcli.protocol.device import Device, OpenedEnvelope, Trust
from jetcli.protocol.fingerprint import fingerprint
from jetcli.protocol.model import Envelope, EnvelopeKey, TransportSecret
from jetcli.protocol.policy import shown
from jetcli.xmpp.omemo_device import Lock, OmemoDevice, Pep, bare, learn
from jetcli.xmpp.omemo_payloads import PublicBundle
from jetcli.xmpp.omemo_pep import OmemoPep
from jetcli.xmpp.omemo_ratchet import CannotOpenError, DuplicateError, KeyChangedError, Opened, Ratchet
from jetcli.xmpp.omemo_storage import KeyValueStorage
from jetcli.xmpp.omemo_strangers import Standing

_KEY_SIZES = (16, 32)


class Judgement(Protocol):
    """How far a key is trusted, and whether it was met for the first time just now."""

    @property
    def trust(self) -> Trust:
        """How far the key is trusted now."""

    @property
    def first_time(self) -> bool:
        """Whether nobody asked for it before: then the user is shown it."""

    @property
    def stops(self) -> bool:
        """Whether an undecided key stops every transfer, because others of that contact have been verified."""


class TrustPolicy(Protocol):
    """What decides how far identity keys (Curve25519, 32 bytes) of bare JIDs are trusted."""

    def judge(self, jid: str, identity_key: bytes, *, own_account: bool, now: float) -> Judgement:
        """Return how far a key is trusted, and remember it if it is new."""

    def level(self, jid: str, identity_key: bytes) -> Trust | None:
        """Return how far a key is trusted, None where it was never met."""


def _nobody(_bare_jid: str) -> bool:
    return False


class Omemo:
    """Our OMEMO device. `on_new_device` is called with each device whose key is met for the first time."""

    def __init__(self, device: OmemoDevice, trust: TrustPolicy, now: Callable[[], float]) -> None:
        self._device = device
        self._trust = trust
        self._now = now
        self.on_new_device: Callable[[Device], None] = lambda _device: None

    @classmethod
    async def start(
        cls,
        client: Any,
        storage: KeyValueStorage,
        trust: TrustPolicy,
        lock: Lock,
        *,
        is_close: Callable[[str], bool] = _nobody,
    ) -> Self:
        """Load our device over a connected `client`, or make and publish it.

        Summon `omemo_pep.OmemoPep` before the client connects, or the messages until now are missed. `lock` returns
        a context manager that holds the account's lock between processes. Raises what `begin` raises.
        """
        pep, own_jid = client.summon(OmemoPep), str(client.local_jid.bare())
        return await cls.begin(pep, own_jid, storage, trust, lock, is_close=is_close)

    @classmethod
    async def begin(
        cls,
        pep: Pep,
        own_jid: str,
        storage: KeyValueStorage,
        trust: TrustPolicy,
        lock: Lock,
        *,
        is_close: Callable[[str], bool] = _nobody,
        now: Callable[[], float] = time.time,
    ) -> Self:
        """Load our device over `pep`, or make and publish it; `now` is the wall clock in seconds.

        `is_close` says which bare JIDs are no strangers: the messages of all others may cost us little.
        Raises UnsupportedError where the server cannot keep our keys, UnavailableError or NetworkError where it does
        not answer, and what `storage` and `lock` raise.
        """

        def judge(bare_jid: str, key: bytes | None) -> Standing:
            if bare_jid == own_jid or is_close(bare_jid):
                return Standing.CLOSE
            return Standing.STRANGER if key is None or trust.level(bare_jid, key) is None else Standing.MET

        device = OmemoDevice(pep, own_jid, storage, lock, judge)
        await device.begin()
        return cls(device, trust, now)

    async def close(self) -> None:
        """Let what is under way end within seconds, then stop."""
        await self._device.close()

    @property
    def own_device(self) -> Device:
        """Our device; its key is what contacts verify."""
        return Device(self._device.own_jid, self._device.device_id, self._device.identity_key, Trust.VERIFIED)

    async def published(self) -> bytes | None:
        """Return the key that our device is published with, None where it is not listed or has no readable bundle."""
        return await self._device.published()

    async def withdraw(self) -> None:
        """Take our device off the account's list, with its bundle, for good; raises as publishing does."""
        await self._device.withdraw()

    async def devices(self, bare_jid: str) -> tuple[Device, ...]:
        """Return the devices that an account publishes with their keys; a key never met counts as undecided.

        Nothing is recorded as met. Raises UnsupportedError, UnavailableError or NetworkError as fetching fails.
        """
        ids = await self._device.listed(bare_jid)
        bundles = await self._device.bundles(bare_jid, ids)
        async with self._device.operation() as ratchet:
            learn(ratchet, bare_jid, bundles)
            keys = {device_id: ratchet.identity_of(bare_jid, device_id) for device_id in ids}
        return tuple(
            Device(bare_jid, device_id, key, self._trust.level(bare_jid, key) or Trust.UNDECIDED)
            for device_id, key in keys.items()
            if key is not None
        )

    async def seal(
        self, secret: TransportSecret, bare_jid: str, *, blank_payload: bool = False, anew: bool = False
    ) -> tuple[Envelope, tuple[Device, ...]]:
        """Seal the bare key of `secret` for every trusted device of `bare_jid`, and return these devices.

        Our own devices are left out unless `bare_jid` is our own. `blank_payload` adds the empty payload that
        Libervia insists on. `anew` begins new sessions with devices that have not answered on the ones they have
        (see `may_be_dead`). Raises UnsupportedError where there is no device or none with keys, TrustError where none
        is trusted, UnavailableError or NetworkError as fetching fails. XEP-0396 section 3.
        """
        # A message that is already here may bring the session that this envelope has to use.
        await self._device.settle()
        ids = await self._device.listed(bare_jid)
        if not ids:
            other = "other OMEMO device than this machine's" if bare_jid == self._device.own_jid else "OMEMO device"
            raise UnsupportedError(f"{shown(bare_jid)} has published no {other}")
        bundles = await self._device.bundles(bare_jid, ids, for_session=True, anew=anew)
        met = _Met()
        async with self._device.operation() as ratchet:
            changed = learn(ratchet, bare_jid, bundles)
            known = [self._judge(ratchet, bare_jid, i, met) for i in ids if i not in changed]
            candidates = [device for device in known if device is not None]
            trusted = [device for device in candidates if device.trusted and not met.stopping]
            keys = _seal_all(ratchet, secret.key, trusted, bundles, anew=anew)
        self._tell(met)
        if not keys:
            raise _why_nobody(bare_jid, candidates, changed)
        payload = b"" if blank_payload else None
        return Envelope(self._device.device_id, secret.iv, tuple(keys.values()), payload), tuple(keys)

    def may_be_dead(self, devices: Iterable[Device]) -> bool:
        """Say whether an envelope for `devices` may have been one that one of them will never open.

        A client publishes a prekey until it renews its bundle, which Dino does only when it logs in: who begins a
        session meanwhile with a prekey that was used already begins one that nobody knows.
        """
        return any(self._device.unanswered(device.jid, [device.device_id]) for device in devices)

    async def say(self, bare_jid: str, envelope: Envelope, ciphertext: bytes) -> None:
        """Send a chat message whose text is sealed under the key in `envelope`; raises NetworkError."""
        await self._device.say(bare_jid, replace(envelope, payload=ciphertext))

    async def open(self, envelope: Envelope, jid: str) -> OpenedEnvelope:
        """Open an envelope that came from `jid`, whose bare JID must publish the device that sealed it.

        An envelope can be opened once; give the full JID, so that its device gets the answer. Raises TrustError where
        it is not for this device, is our own, comes from a device that is not published or not trusted, or does not
        open (the session is replaced then); RemoteProtocolError where it holds no key; UnavailableError or
        NetworkError as fetching fails. XEP-0391 section 4.1.
        """
        bare_jid = bare(jid)
        name = shown(bare_jid)
        if self._device.is_own(bare_jid, envelope.sender):
            raise TrustError("refused an offer that was sealed by this very device")
        if all(key.device != self._device.device_id for key in envelope.keys):
            raise TrustError(
                "the offer was not encrypted for this device",
                hint=f"{name} has no session with it yet: send them a file, let them write you an encrypted message, or"
                f" write them one line with  jet hello {name}",
            )
        await self._require_listed(bare_jid, envelope.sender)
        bundles = await self._device.bundles(bare_jid, [envelope.sender])
        try:
            opened, device, met = await self._open(bare_jid, envelope, bundles)
        except (DuplicateError, KeyChangedError) as error:
            raise TrustError(f"the offer of {name} could not be opened: {error}") from error
        except CannotOpenError as error:
            replaced = await self._device.replace(jid, envelope.sender)
            again = "the broken encryption session was replaced; let it be sent again"
            hint = again if replaced else f"see which devices of {name} can be used:  jet caps {name}"
            raise TrustError(f"the offer of {name} could not be opened: {error}", hint=hint) from error
        self._device.follow_up(jid, envelope.sender, opened)
        self._tell(met)
        if not device.trusted:
            raise TrustError(f"the offering device of {name} is not trusted", hint=_verify(device))
        if len(opened.key_material) not in _KEY_SIZES:
            raise RemoteProtocolError("the offer's envelope holds no usable key", condition="security-error")
        return OpenedEnvelope(opened.key_material, envelope.iv, device)

    async def _require_listed(self, bare_jid: str, device_id: int) -> None:
        try:
            listed = await self._device.listed(bare_jid)
        except UnsupportedError as error:
            raise TrustError(f"the offer's sender cannot be checked: {error.message}") from error
        if device_id not in listed:
            raise TrustError(f"the offer was sealed by a device that {shown(bare_jid)} does not publish")

    async def _open(
        self, bare_jid: str, envelope: Envelope, bundles: dict[int, PublicBundle]
    ) -> tuple[Opened, Device, "_Met"]:
        met = _Met()
        async with self._device.operation() as ratchet:
            if learn(ratchet, bare_jid, bundles):
                raise KeyChangedError("its device publishes another key than before")
            key = ratchet.identity_of(bare_jid, envelope.sender)
            if key is None:
                raise TrustError(f"the offering device of {shown(bare_jid)} publishes no usable key")
            if key == self._device.identity_key:
                raise TrustError("refused an offer that was sealed with this device's own key")
            if self._trust.level(bare_jid, key) is Trust.DISTRUSTED:
                raise TrustError(f"the offering device of {shown(bare_jid)} is distrusted")
            close = self._device.standing(bare_jid, envelope.sender) is Standing.CLOSE
            opened = ratchet.open(bare_jid, envelope, wary=not close)
            device = self._judge(ratchet, bare_jid, envelope.sender, met)
            assert device is not None
        return opened, device, met

    def _tell(self, met: "_Met") -> None:
        """Tell of the devices that are new; raise TrustError where one of them stops the transfer."""
        for device in met.new:
            self.on_new_device(device)
        for device in met.stopping:
            raise TrustError(
                f"{shown(device.jid)} has a new device ({device.device_id}) since you verified this contact",
                hint=_verify(device),
            )

    def _judge(self, ratchet: Ratchet, bare_jid: str, device_id: int, met: "_Met") -> Device | None:
        """Ask how far a device is trusted, None where its key is not known; note in `met` what is to be told."""
        key = ratchet.identity_of(bare_jid, device_id)
        if key is None:
            return None
        judged = self._trust.judge(bare_jid, key, own_account=bare_jid == self._device.own_jid, now=self._now())
        device = Device(bare_jid, device_id, key, judged.trust)
        if judged.first_time:
            met.new.append(device)
        if judged.stops:
            met.stopping.append(device)
        return device


@dataclass(slots=True)
class _Met:
    """What the judgement of devices brought: those met for the first time, and those that stop a transfer."""

    new: list[Device] = field(default_factory=list)
    stopping: list[Device] = field(default_factory=list)


def _seal_all(
    ratchet: Ratchet, key_material: bytes, devices: list[Device], bundles: dict[int, PublicBundle], *, anew: bool
) -> dict[Device, EnvelopeKey]:
    """Seal for each device that has a session or usable keys; the others are left out."""
    sealed = {
        device: ratchet.seal(device.jid, device.device_id, key_material, bundles.get(device.device_id), anew=anew)
        for device in devices
    }
    return {device: key for device, key in sealed.items() if key is not None}


def _why_nobody(bare_jid: str, candidates: list[Device], changed: set[int]) -> TrustError | UnsupportedError:
    """Say why there is nobody to seal for."""
    name = shown(bare_jid)
    if candidates and not any(device.trusted for device in candidates):
        return TrustError(f"no trusted device of {name}", hint=_verify(candidates[0]))
    if changed and not candidates:
        return TrustError(f"the OMEMO key of {name} has changed")
    return UnsupportedError(f"no OMEMO device of {name} has published usable keys")


def _verify(device: Device) -> str:
    return f"compare {fingerprint(device.identity_key)} with  jet trust {shown(device.jid)} --verify"
