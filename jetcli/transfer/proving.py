"""Hashing what is held already, while the other side waits.

Before a transfer goes on, where the sender cannot vouch for its source; and after its last byte, where the whole file
has to have a certain digest.
"""

import asyncio
import threading
from typing import Any, TypeVar

from jetcli.errors import InterruptedTransferError, NotResumableError
from jetcli.files.digest import Readable, prefix_sha256
from jetcli.files.source import Source
from jetcli.protocol.model import SOURCE_CHANGED, Ping, Prefix, TransportSecret
from jetcli.protocol.policy import shown
from jetcli.protocol.proof import prefix_proof, proves_prefix
from jetcli.transfer.account import Online
from jetcli.xmpp.negotiation import Negotiation, SessionEnded

#: How often who is hashing says that it is alive, or as a share of the time that the other side may wait for bytes.
ALIVE_S = 15.0
_SHARE = 4
#: How long the other one's proof is waited for after the last sign of life: it may have to read a whole slow disk.
LIFE_S = 60.0

T = TypeVar("T")


async def show_prefix(
    online: Online, negotiation: Negotiation, secret: TransportSecret, file: Readable, length: int
) -> None:
    """Prove to the sender that `file` holds the first `length` bytes of what it sends."""
    sha256 = await digest_of(online, file, length, negotiation)
    negotiation.inform(prefix_proof(secret, length, sha256))


async def demand_prefix(
    online: Online, negotiation: Negotiation, secret: TransportSecret, file: Source, length: int
) -> None:
    """Compare the receiver's proof with `file`; raise NotResumableError where it holds something else."""
    sha256 = await digest_of(online, file, length, negotiation)
    said = await _awaited(negotiation)
    if not proves_prefix(said, secret, length, sha256):
        raise NotResumableError(
            f"'{shown(file.name)}' has changed since its transfer began; it has to start again",
            application=SOURCE_CHANGED,
        )


async def digest_of(online: Online, file: Readable, length: int, negotiation: Negotiation | None = None) -> bytes:
    """Return the SHA-256 of the first `length` bytes, telling the peer of a `negotiation` that we are alive.

    Raises LocalFileError where they cannot be read, SessionEnded where the session ends meanwhile.
    """
    stop = threading.Event()
    every_s = min(ALIVE_S, online.network.idle_s / _SHARE)
    hashing = asyncio.get_running_loop().run_in_executor(online.hashing, prefix_sha256, file, length, stop)
    waiting: set[asyncio.Future[Any]] = {hashing, negotiation.ended} if negotiation else {hashing}
    try:
        while not hashing.done():
            await asyncio.wait(waiting, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
            if negotiation is not None and negotiation.ended.done():
                raise SessionEnded(negotiation.ended.result())
            if negotiation is not None and not hashing.done():
                negotiation.inform(Ping())
        return hashing.result()
    finally:
        stop.set()
        if not hashing.done():
            await asyncio.wait({hashing})
            hashing.exception()  # seen: the end of the session is what the caller learns


async def heard(negotiation: Negotiation, word: asyncio.Future[T]) -> T | None:
    """Return what the peer says once it has hashed, or None where it has given no sign of life for too long.

    Raises SessionEnded where the session ends before.
    """
    waiting: set[asyncio.Future[Any]] = {word, negotiation.ended}
    clock = asyncio.get_running_loop().time
    began = clock()
    while (left_s := max(began, negotiation.pinged_at) + LIFE_S - clock()) > 0:
        await asyncio.wait(waiting, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        if word.done():
            return word.result()
        if negotiation.ended.done():
            raise SessionEnded(negotiation.ended.result())
    return None


async def _awaited(negotiation: Negotiation) -> Prefix:
    said = await heard(negotiation, negotiation.prefix)
    if said is None:
        raise InterruptedTransferError("the peer did not prove in time what it holds")
    return said
