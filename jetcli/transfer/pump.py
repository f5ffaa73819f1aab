"""One worker thread under the event loop: started, watched, and stopped without leaving anything behind.

The thread counts bytes in a plain attribute; the loop looks at it four times a second. No chunk wakes the loop.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Protocol, TypeVar

from jetcli.errors import InterruptedTransferError
from jetcli.protocol.effects import Ended

T = TypeVar("T")

#: Progress events a second at most (the first and the last always).
_TICK_S = 0.25


class Abortable(Protocol):
    """What a worker may be waiting in."""

    def abort(self) -> None:
        """Make the worker's present and later calls fail at once; for any thread."""


class Stoppable(Protocol):
    """The local end of a stream, where a worker may be waiting too."""

    def stop(self) -> None:
        """Make the worker's present and later calls fail at once; for any thread."""


class BothEnds:
    """A channel and the local end of its stream, aborted together."""

    def __init__(self, channel: Abortable, local: Stoppable) -> None:
        self._channel = channel
        self._local = local

    def abort(self) -> None:
        """Abort both."""
        self._channel.abort()
        self._local.stop()


class Counter:
    """Where a worker says how far it is; one writer, one reader, no lock needed."""

    def __init__(self, start: int = 0) -> None:
        self.position = start

    def set(self, position: int) -> None:
        """Note the position; called by the worker for every buffer."""
        self.position = position


async def pump(
    pool: Executor,
    channel: Abortable,
    work: Callable[[Counter, threading.Event], T],
    progress: Callable[[int], None],
    *,
    ended: asyncio.Future[Ended],
    start: int = 0,
    success_ends: bool = True,
) -> T:
    """Run `work(counter, stop)` on `pool` and return its result; tell `progress` the position meanwhile.

    When the peer ends the session first (`ended`), or the caller is cancelled, the channel is aborted so that the
    worker raises at once; its thread has ended when this returns or raises. One that still waits for a place in `pool`
    never begins then, and InterruptedTransferError says that the session ended. Without `success_ends` the worker goes
    on where the peer says that all is well: a sender may say so before we have read all that it has sent.
    """
    counter, stop = Counter(start), threading.Event()
    job = pool.submit(work, counter, stop)
    worker = asyncio.wrap_future(job)
    try:
        progress(start)
        while not worker.done():
            waiting: set[asyncio.Future[Any]] = {worker} if ended.done() else {worker, ended}
            await asyncio.wait(waiting, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED)
            # Our own end does not count: a proxy's last bytes come only after we have said that all is well.
            if ended.done() and _breaks(ended.result(), success_ends) and not worker.done() and not stop.is_set():
                stop.set()
                channel.abort()
                if job.cancel():
                    raise InterruptedTransferError("the session ended before a byte was moved")
            progress(counter.position)
        return worker.result()
    finally:
        if not worker.done():
            stop.set()
            channel.abort()
            if not job.cancel():
                await asyncio.wait({worker})
                worker.exception()  # seen: the cancellation is what the caller learns


def _breaks(ended: Ended, success_ends: bool) -> bool:
    return ended.by_peer and (success_ends or ended.reason.condition != "success")
