"""A worker thread that is watched, and stopped whenever nobody wants its result any more."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from jetcli.errors import InterruptedTransferError
from jetcli.protocol.effects import Ended
from jetcli.protocol.model import Reason
from jetcli.transfer.pump import pump


class Channel:
    """A channel in which a worker waits until it is aborted."""

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def abort(self) -> None:
        self.aborted.set()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
async def ended():
    return asyncio.get_running_loop().create_future()


def waits(channel: Channel, begun: threading.Event, left: list[bool]):
    """Return work that waits for the abort, and notes whether it was told to stop before that."""

    def work(_counter, stop: threading.Event) -> None:
        begun.set()
        assert channel.aborted.wait(5)
        left.append(stop.is_set())
        raise InterruptedTransferError("stopped")

    return work


async def test_the_result_comes_back_and_the_first_and_last_position_are_told(pool, ended):
    told: list[int] = []

    def work(counter, _stop) -> str:
        counter.set(7)
        return "done"

    assert await pump(pool, Channel(), work, told.append, ended=ended, start=3) == "done"
    assert (told[0], told[-1]) == (3, 7)


async def test_a_failure_of_the_worker_is_the_callers(pool, ended):
    def work(_counter, _stop) -> None:
        raise InterruptedTransferError("connection lost")

    with pytest.raises(InterruptedTransferError, match="connection lost"):
        await pump(pool, Channel(), work, lambda _: None, ended=ended)


@pytest.mark.parametrize("success_ends", [True, False])
async def test_a_peer_that_ends_the_session_stops_the_worker(pool, ended, success_ends):
    channel, begun, left = Channel(), threading.Event(), []
    work = waits(channel, begun, left)
    pumping = asyncio.create_task(pump(pool, channel, work, lambda _: None, ended=ended, success_ends=success_ends))
    await asyncio.to_thread(begun.wait, 5)
    ended.set_result(Ended(Reason("cancel"), by_peer=True))
    with pytest.raises(InterruptedTransferError):
        await pumping
    assert left == [True]


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (Ended(Reason("success"), by_peer=False), {}),
        (Ended(Reason("success"), by_peer=True), {"success_ends": False}),
    ],
    ids=["our own end", "the success of a sender that has sent everything"],
)
async def test_an_end_without_a_fault_lets_the_worker_read_on(pool, ended, end, options):
    channel, begun, go_on = Channel(), threading.Event(), threading.Event()

    def work(_counter, stop) -> bool:
        begun.set()
        assert go_on.wait(5)
        return stop.is_set()

    pumping = asyncio.create_task(pump(pool, channel, work, lambda _: None, ended=ended, **options))
    await asyncio.to_thread(begun.wait, 5)
    ended.set_result(end)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not channel.aborted.is_set()
    go_on.set()
    assert await pumping is False


async def test_a_cancelled_caller_leaves_no_thread_behind(pool, ended):
    channel, begun, left = Channel(), threading.Event(), []
    pumping = asyncio.create_task(pump(pool, channel, waits(channel, begun, left), lambda _: None, ended=ended))
    await asyncio.to_thread(begun.wait, 5)
    pumping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pumping
    assert left == [True]


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "ended by the peer"])
async def test_what_has_not_begun_yet_never_does_once_its_session_has_ended(pool, ended, cancelled):
    busy, begun = threading.Event(), []
    pool.submit(busy.wait)
    try:
        work = lambda _counter, _stop: begun.append(1)  # noqa: E731
        pumping = asyncio.create_task(pump(pool, Channel(), work, lambda _: None, ended=ended))
        await asyncio.sleep(0)
        if cancelled:
            pumping.cancel()
        else:
            ended.set_result(Ended(Reason("cancel"), by_peer=True))
        done, _ = await asyncio.wait({pumping}, timeout=5)
    finally:
        busy.set()
    assert done == {pumping}
    with pytest.raises(asyncio.CancelledError if cancelled else InterruptedTransferError):
        await pumping
    pool.shutdown()
    assert begun == []
