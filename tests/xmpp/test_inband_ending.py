"""How an in-band bytestream ends: aborted, closed, drained, or outliving its loop."""

import asyncio
import threading

import pytest
from inbands import Bench

from jetcli.xmpp.inband_channel import BlockRefusedError


async def test_abort_frees_a_worker_that_receives_even_where_blocks_wait(bench):
    here = bench()
    receiving = here.receive()
    here.channel.abort()
    with pytest.raises(ConnectionAbortedError):
        await receiving
    with pytest.raises(ConnectionAbortedError):
        await here.receive()


async def test_abort_frees_a_worker_that_sends(bench):
    here = bench(1, automatic=False)
    sending = here.send(b"abcdefgh")
    await here.until(4)
    here.channel.abort()
    with pytest.raises(ConnectionAbortedError):
        await sending


async def test_after_abort_the_end_of_sending_does_nothing(bench):
    here = bench(automatic=False)
    here.channel.abort()
    await here.send()
    assert here.blocks == []


async def test_close_refuses_what_was_not_taken_tells_the_peer_once_and_releases(bench):
    here = bench()
    waiting = here.arrive(0, b"abcd")
    here.channel.close()
    here.channel.close()
    with pytest.raises(BlockRefusedError) as caught:
        await waiting
    assert caught.value.condition == "item-not-found"
    await here.released.wait()
    assert here.hung_up == 1


async def test_close_stops_waiting_for_acknowledgements(bench):
    here = bench(4, automatic=False)
    sending = here.send(b"abcd", finish=False)
    await here.until(1)
    await sending
    here.channel.close()
    await here.released.wait()
    await asyncio.sleep(0)
    assert here.acknowledgements[0].cancelled()


async def test_drain_counts_what_it_discards_until_the_end(bench):
    here = bench(8)
    here.arrive(0, b"surplus")
    here.channel.peer_closed()
    assert await asyncio.to_thread(here.channel.drain, 60) == 7


async def test_drain_stops_at_its_deadline_and_the_idle_time_holds_again(bench):
    here = bench(8)
    here.arrive(0, b"surplus")
    assert await asyncio.to_thread(here.channel.drain, 0.02) == 7
    assert here.channel._idle_s == 5.0


async def test_after_the_end_of_sending_there_is_nothing_to_drain(bench):
    here = bench()
    await here.send(b"abcd")
    assert await asyncio.to_thread(here.channel.drain, 60) == 0


def test_a_worker_that_outlives_the_loop_is_freed():
    async def begin():
        here = Bench(4)
        here.arrive(0, b"abcd")
        return here.channel

    channel = asyncio.run(begin())
    failures = []

    def work():
        try:
            channel.recv_into(memoryview(bytearray(4)))
        except OSError as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(5)
    assert isinstance(failures[0], ConnectionAbortedError)
    channel.close()
