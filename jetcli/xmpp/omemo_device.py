"""Our OMEMO device at work: one operation at a time, published, and with a ratchet that stays alive.

Owns the lock around the ratchet, our bundle and our place on the account's device list, the messages that step the
ratchet (their text is dropped unread) and the replacement of broken sessions. Nothing is awaited in the middle of an
operation: what it needs is fetched before, what it yields is sent after. Refuses to know trust and transport secrets:
how close a device is to us is handed in.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from jetcli.errors import JetError
from jetcli.protocol.model import Envelope
from jetcli.xmpp.omemo_lanes import Lanes
from jetcli.xmpp.omemo_names import OWN_IDENTITY
from jetcli.xmpp.omemo_payloads import PublicBundle, is_device_id
from jetcli.xmpp.omemo_pep import OwnDevices, Received
from jetcli.xmpp.omemo_ratchet import (
    CannotOpenError,
    DuplicateError,
    KeyChangedError,
    Opened,
    Ratchet,
)
from jetcli.xmpp.omemo_storage import KeyValueStorage
from jetcli.xmpp.omemo_strangers import Standing, Strangers

#: Nobody has more; the rest of a longer list is not asked for its keys.
MAX_DEVICES = 50

#: How long sealing waits for messages that are already here, and closing for answers on their way out.
SETTLE_S = 1.0

#: How long a message of somebody who is no contact may keep us busy, asking their server included.
STRANGER_S = 10.0

#: Bounds what we remember of broken sessions; the oldest is forgotten, and may then be replaced once more.
MAX_REPLACED = 1000

_log = logging.getLogger(__name__)


class Pep(Protocol):
    """What OMEMO needs of the network: `omemo_pep.OmemoPep`, or a test's."""

    inbox: asyncio.Queue[Received | OwnDevices]

    async def device_list(self, bare_jid: str) -> tuple[int, ...]:
        """Return the ids that an account publishes."""

    async def bundle(self, bare_jid: str, device_id: int) -> PublicBundle | None:
        """Return a device's public keys, None where there are none."""

    async def publish_device_list(self, ids: Iterable[int]) -> None:
        """Publish our account's device list."""

    async def publish_bundle(self, device_id: int, keys: PublicBundle) -> None:
        """Publish our device's public keys."""

    async def delete_bundle(self, device_id: int) -> None:
        """Delete a device's public keys; nothing happens where there are none."""

    async def send(self, to: str, envelope: Envelope, *, visible: bool = False) -> None:
        """Send a message that holds nothing but an envelope; a `visible` one has a text for who cannot open it."""


Lock = Callable[[], AbstractAsyncContextManager[object]]

#: Says how close a device of a bare JID is to us, by its identity key, or None where that is not known.
Judge = Callable[[str, bytes | None], Standing]


def bare(jid: str) -> str:
    """Return a JID without its resource."""
    return jid.partition("/")[0]


class OmemoDevice:
    """Our device of the account `own_jid` (bare), shared with other processes under `lock`."""

    def __init__(self, pep: Pep, own_jid: str, storage: KeyValueStorage, lock: Lock, judge: Judge) -> None:
        self._pep = pep
        self._storage = storage
        self._lock = lock
        self._judge = judge
        self._ratchet = Ratchet(storage, own_jid)
        self._strangers = Strangers(storage, spared=self._are_known, forget=self._ratchet.forget)
        self._lanes = Lanes(self._feed, self.spawn)
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker: asyncio.Task[None] | None = None
        self._withdrawn = False
        self._replaced: dict[tuple[str, int], None] = {}
        self.own_jid = own_jid
        self.device_id = 0
        self.identity_key = b""

    async def begin(self) -> None:
        """Load the device, or make it and publish it; then take up what arrives."""
        if self._ratchet.device_id is None:
            taken = await self._pep.device_list(self.own_jid)
            async with self.operation() as ratchet:
                if ratchet.device_id is None:
                    ratchet.create(taken)
        self.device_id = self._ratchet.device_id or 0
        self.identity_key = self._ratchet.identity_key
        if self._storage.load(OWN_IDENTITY) is None:
            self._storage.store(OWN_IDENTITY, json.dumps(self.identity_key.hex()))
        if self._ratchet.unpublished:
            await self._keep_published()
        else:
            self.spawn(self._keep_published())
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Let what is under way end within a second, then stop."""
        await self.settle()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SETTLE_S)
        left = [*self._tasks, *([] if self._worker is None else [self._worker])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def settle(self) -> None:
        """Wait, for a second at most, until the messages that are already here have stepped the ratchet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._pep.inbox.join()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside everything else; its failure is logged and changes nothing."""
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Using the ratchet

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other tasks and other processes away from our device."""
        async with self._turn, self._lock():
            yield

    @contextlib.asynccontextmanager
    async def operation(self) -> AsyncIterator[Ratchet]:
        """Use the ratchet, alone; nothing may be awaited inside."""
        async with self._alone():
            with self._storage.transaction():
                yield self._ratchet

    def is_own(self, bare_jid: str, device_id: int) -> bool:
        """Say whether a device is this one."""
        return bare_jid == self.own_jid and device_id == self.device_id

    # Devices of others

    def standing(self, bare_jid: str, device_id: int) -> Standing:
        """Say how close a device is to us."""
        return self._judge(bare_jid, self._ratchet.identity_of(bare_jid, device_id))

    def _are_known(self, bare_jid: str, ids: Collection[int]) -> bool:
        return any(self.standing(bare_jid, device_id) is not Standing.STRANGER for device_id in ids)

    async def listed(self, bare_jid: str) -> list[int]:
        """Return the usable ids that an account publishes, without our own."""
        ids = await self._pep.device_list(bare_jid)
        return [i for i in ids if is_device_id(i) and not self.is_own(bare_jid, i)][:MAX_DEVICES]

    async def bundles(
        self, bare_jid: str, ids: Collection[int], *, for_session: bool = False, anew: bool = False
    ) -> dict[int, PublicBundle]:
        """Fetch the bundles of the devices whose key is unknown, or `for_session` of those without a session.

        `anew` takes a session that was never answered for none.
        """
        unanswered = self.unanswered(bare_jid, ids) if anew else ()
        wanted = [i for i in ids if i in unanswered or self._lacks(bare_jid, i, for_session)]
        fetched = await asyncio.gather(*(self._pep.bundle(bare_jid, device_id) for device_id in wanted))
        return {device_id: bundle for device_id, bundle in zip(wanted, fetched, strict=True) if bundle is not None}

    def unanswered(self, bare_jid: str, ids: Collection[int]) -> set[int]:
        """Return those of the devices that have never answered on the session that we have begun with them."""
        return {i for i in ids if self._ratchet.is_unanswered(bare_jid, i)}

    def _lacks(self, bare_jid: str, device_id: int, for_session: bool) -> bool:
        known = self._ratchet.identity_of(bare_jid, device_id) is not None
        return not known or (for_session and not self._ratchet.has_session(bare_jid, device_id))

    # Keeping the device published

    async def published(self) -> bytes | None:
        """Return the identity key that our device is published with, None where it cannot be fetched."""
        if self.device_id not in await self._pep.device_list(self.own_jid):
            return None
        bundle = await self._pep.bundle(self.own_jid, self.device_id)
        return None if bundle is None else bundle.identity_key

    async def withdraw(self) -> None:
        """Take our device off the account's list and delete its bundle; it does not come back by itself."""
        async with self._alone():
            self._withdrawn = True
            ids = await self._pep.device_list(self.own_jid)
            await self._pep.publish_device_list(i for i in ids if i != self.device_id)
            await self._pep.delete_bundle(self.device_id)

    async def _keep_published(self) -> None:
        """Renew the prekeys that are due, publish what has changed, stay on the device list."""
        async with self.operation() as ratchet:
            ratchet.refresh()
        await self._publish_bundle()
        await self._stay_listed()

    async def _publish_bundle(self) -> None:
        """Publish our bundle if it has changed; under the lock, or an older one could overtake a newer."""
        async with self._alone():
            if self._ratchet.unpublished:
                with self._storage.transaction():
                    self._ratchet.refresh()
                    keys = self._ratchet.bundle()
                await self._pep.publish_bundle(self.device_id, keys)
                self._ratchet.unpublished = False

    async def _stay_listed(self) -> None:
        """Put our device back on the account's list where another client has taken it off."""
        if self.device_id in await self._pep.device_list(self.own_jid):
            return
        async with self._alone():
            ids = await self._pep.device_list(self.own_jid)
            if self.device_id not in ids and not self._withdrawn:
                await self._pep.publish_device_list([*ids, self.device_id])

    # Keeping the ratchet alive

    async def _work(self) -> None:
        while True:
            arrival = await self._pep.inbox.get()
            if isinstance(arrival, Received) and self._is_for_us(arrival):
                self._put(arrival)
                continue
            if isinstance(arrival, OwnDevices):
                self.spawn(self._check_list(arrival))
            self._pep.inbox.task_done()

    def _put(self, message: Received) -> None:
        bare_jid, done = bare(message.sender), self._pep.inbox.task_done
        try:
            standing = self.standing(bare_jid, message.envelope.sender)
        except JetError as error:
            _log.info("OMEMO: %s", error)
            done()
        else:
            self._lanes.put(bare_jid, message, standing, done)

    async def _check_list(self, list_: OwnDevices) -> None:
        if self.device_id not in list_.ids:
            await self._stay_listed()

    def _is_for_us(self, message: Received) -> bool:
        own = self.is_own(bare(message.sender), message.envelope.sender)
        return not own and any(key.device == self.device_id for key in message.envelope.keys)

    async def _feed(self, message: Received, standing: Standing) -> None:
        """Step the ratchet by a message; what it says is never decrypted."""
        deadline = None if standing is Standing.CLOSE else STRANGER_S
        try:
            async with asyncio.timeout(deadline):
                await _logged(self._step(message, standing))
        except TimeoutError:
            _log.info("gave up an OMEMO message of device %d", message.envelope.sender)

    async def _step(self, message: Received, standing: Standing) -> None:
        bare_jid, sender = bare(message.sender), message.envelope.sender
        if self._lacks(bare_jid, sender, for_session=False) and sender not in await self.listed(bare_jid):
            return
        bundles = await self.bundles(bare_jid, [sender])
        try:
            async with self.operation() as ratchet:
                if standing is Standing.STRANGER:
                    self._strangers.note(bare_jid, sender)
                learn(ratchet, bare_jid, bundles)
                opened = ratchet.open(bare_jid, message.envelope, wary=standing is not Standing.CLOSE)
        except (DuplicateError, KeyChangedError) as error:
            _log.info("ignored an OMEMO message of device %d: %s", sender, error)
        except CannotOpenError as error:
            _log.info("replacing the session with device %d: %s", sender, error)
            await self.replace(message.sender, sender)
        else:
            self.follow_up(message.sender, sender, opened)

    def follow_up(self, jid: str, device_id: int, opened: Opened) -> None:
        """Send the answer that an opened envelope of `jid` asks for, and publish our bundle if it has changed.

        A full JID gets the answer itself: a bare one does not reach a device of negative priority.
        """
        self._replaced.pop((bare(jid), device_id), None)
        if opened.answer is not None:
            self.spawn(self._pep.send(jid, opened.answer))
        if self._ratchet.unpublished:
            self.spawn(self._publish_bundle())

    async def say(self, bare_jid: str, envelope: Envelope) -> None:
        """Send a message that a person is to read."""
        await self._pep.send(bare_jid, envelope, visible=True)

    async def replace(self, jid: str, device_id: int) -> bool:
        """Start a new session with a device of `jid` and tell it, once until something of it can be opened again.

        Returns whether it has been told of one, now or before: there is none where its keys cannot be had, or are of no
        use, and then the next time is another try.
        """
        key = (bare(jid), device_id)
        if key in self._replaced:
            return True
        if len(self._replaced) >= MAX_REPLACED:
            del self._replaced[next(iter(self._replaced))]
        self._replaced[key] = None
        told = False
        try:
            if (message := await self._new_session(*key)) is not None:
                await self._pep.send(jid, message)
                told = True
        finally:
            if not told:
                self._replaced.pop(key, None)
        return told

    async def _new_session(self, bare_jid: str, device_id: int) -> Envelope | None:
        bundle = await self._pep.bundle(bare_jid, device_id)
        if bundle is None:
            return None
        async with self.operation() as ratchet:
            if self.standing(bare_jid, device_id) is Standing.STRANGER:
                self._strangers.note(bare_jid, device_id)
            return ratchet.replace(bare_jid, device_id, bundle)


def learn(ratchet: Ratchet, bare_jid: str, bundles: dict[int, PublicBundle]) -> set[int]:
    """Remember the keys of devices that were not known, and return those that published another key before."""
    changed = set()
    for device_id, bundle in bundles.items():
        try:
            ratchet.learn(bare_jid, device_id, bundle)
        except KeyChangedError:
            changed.add(device_id)
        except CannotOpenError as error:
            _log.info("no usable key: %s", error)
    return changed


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except JetError as error:
        _log.info("OMEMO: %s", error)
