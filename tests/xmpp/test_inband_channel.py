"""An in-band channel as a worker sees it: blocks out and in, windows, and everything that is refused."""

import asyncio
import queue

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inbands import Bench

from jetcli.errors import NetworkError, RemoteProtocolError
from jetcli.protocol.bytestream import Window
from jetcli.xmpp.inband_channel import MAX_WAITING, BlockRefusedError


async def test_bytes_go_out_in_full_blocks_numbered_from_0_whatever_they_came_in(bench):
    here = bench(4)
    await here.send(b"ab", b"cdefghij", b"", b"k")
    assert here.blocks == [(0, b"abcd"), (1, b"efgh"), (2, b"ijk")]


@given(st.lists(st.binary(max_size=30)), st.integers(1, 12))
def test_no_splitting_of_what_is_sent_changes_what_arrives(pieces, block_size):
    async def arriving():
        here = Bench(block_size)
        await here.send(*pieces)
        here.channel.close()
        await here.released.wait()
        return here.blocks

    data = b"".join(pieces)
    expected = [data[start : start + block_size] for start in range(0, len(data), block_size)]
    assert asyncio.run(arriving()) == list(enumerate(expected))


async def test_nothing_sent_is_an_empty_bytestream_that_is_closed(bench):
    here = bench()
    await here.send()
    assert here.blocks == []
    await asyncio.sleep(0)
    assert here.hung_up == 1


async def test_sequence_numbers_start_again_where_the_peer_expects_it(bench):
    here = bench(1, modulo=3)
    await here.send(b"abcde")
    assert [seq for seq, _ in here.blocks] == [0, 1, 2, 0, 1]


async def test_no_more_blocks_than_the_window_has_are_in_flight(bench):
    here = bench(1, automatic=False)
    sending = here.send(b"abcdefgh")
    await here.until(4)
    here.acknowledgements[0].set_result(None)
    await here.until(6)  # one place became free, and the window opened by another
    assert not sending.done()
    while not sending.done():
        here.acknowledge()
        await asyncio.sleep(0)
    assert len(here.blocks) == 8


async def test_the_end_of_sending_waits_for_every_acknowledgement(bench):
    here = bench(4, automatic=False)
    sending = here.send(b"abcdef")
    await here.until(2)
    here.acknowledgements[1].set_result(None)
    await asyncio.wait([sending], timeout=0.02)
    assert not sending.done()
    assert here.hung_up == 0
    here.acknowledgements[0].set_result(None)
    await sending
    await asyncio.sleep(0)
    assert here.hung_up == 1


async def test_an_acknowledgement_that_does_not_come_is_a_timeout(bench):
    here = bench(4, automatic=False, idle_s=0.02)
    with pytest.raises(TimeoutError):
        await here.send(b"abcd")


async def test_a_full_window_that_stands_still_is_a_timeout(bench):
    here = bench(1, automatic=False, idle_s=0.02)
    with pytest.raises(TimeoutError):
        await here.send(b"abcdefgh", finish=False)
    assert len(here.blocks) == 4


async def test_a_slow_line_on_which_blocks_are_acknowledged_does_not_stand_still(bench, monkeypatch):
    monkeypatch.setattr(Window, "SOON_S", -1.0)  # each acknowledgement is late and closes the window by half
    here = bench(1, automatic=False)
    waits, wait_for = queue.SimpleQueue(), here.channel._changed.wait_for

    def noted(awaited, idle_s):
        waits.put((here.channel._in_flight, idle_s))
        return wait_for(awaited, idle_s)

    monkeypatch.setattr(here.channel._changed, "wait_for", noted)
    sending = here.send(b"abcde")
    await here.until(4)
    for left in (4, 3, 2, 1):
        # Each acknowledgement begins a new silence.
        assert await asyncio.to_thread(waits.get, timeout=5) == (left, 5.0)
        here.acknowledgements[4 - left].set_result(None)
    await here.until(5)
    here.acknowledge()
    await sending


async def test_a_block_that_the_peer_refuses_ends_the_sending(bench):
    here = bench(4, automatic=False)
    sending = here.send(b"abcd")
    await here.until(1)
    here.acknowledgements[0].set_exception(NetworkError("juliet answered item-not-found"))
    with pytest.raises(ConnectionResetError, match="juliet answered item-not-found"):
        await sending


async def test_what_arrives_is_given_out_in_order_and_acknowledged_when_it_was_taken(bench):
    here = bench(8)
    first, second = here.arrive(0, b"abcdef"), here.arrive(1, b"gh")
    assert await here.receive(4) == b"abcd"
    assert not first.done()
    assert await here.receive(4) == b"ef"
    await first
    assert not second.done()
    assert await here.receive(4) == b"gh"
    await second


async def test_a_worker_waits_for_a_block_that_comes_later(bench):
    here = bench()
    receiving = here.receive()
    acknowledgement = here.arrive(0, b"abcd")
    assert await receiving == b"abcd"
    await acknowledgement


async def test_a_peer_that_sends_nothing_is_a_timeout(bench):
    here = bench(idle_s=0.01)
    with pytest.raises(TimeoutError):
        await here.receive()


async def test_an_empty_block_is_acknowledged_and_is_not_the_end(bench):
    here = bench()
    await here.arrive(0, b"")
    here.arrive(1, b"abcd")
    assert await here.receive() == b"abcd"


async def test_after_the_peer_closed_what_it_sent_can_be_received_and_then_comes_the_end(bench):
    here = bench()
    here.arrive(0, b"abcd")
    here.channel.peer_closed()
    assert await here.receive() == b"abcd"
    assert await here.receive() == b""
    with pytest.raises(BlockRefusedError) as caught:
        here.arrive(1, b"more")
    assert caught.value.condition == "item-not-found"


async def test_a_peer_that_closed_is_sent_no_close_and_no_block(bench):
    here = bench()
    here.channel.peer_closed()
    with pytest.raises(ConnectionResetError, match="the peer closed the bytestream"):
        await here.send(b"abcd")
    here.channel.close()
    await here.released.wait()
    assert here.hung_up == 0
    assert here.blocks == []


async def test_a_peer_that_closes_before_it_has_acknowledged_everything_ends_the_sending(bench):
    here = bench(4, automatic=False)
    sending = here.send(b"abcd")
    await here.until(1)
    here.channel.peer_closed()
    with pytest.raises(ConnectionResetError, match="too early"):
        await sending


async def test_a_lost_stream_still_gives_out_what_had_arrived_and_then_the_error(bench):
    here = bench()
    here.arrive(0, b"abcd")
    here.channel.fail(ConnectionResetError("the connection to the server was lost"))
    assert await here.receive() == b"abcd"
    with pytest.raises(ConnectionResetError, match="server was lost"):
        await here.receive()


@pytest.mark.parametrize(
    ("seq", "text", "condition"),
    [
        pytest.param(1, "QUJD", "unexpected-request", id="a gap"),
        pytest.param(0, "QUJD!", "bad-request", id="no base64"),
        pytest.param(0, "QU JD", "bad-request", id="a blank"),
        pytest.param(0, "QR==", "bad-request", id="not canonical"),
        pytest.param(0, "QUJDREU=", "bad-request", id="a byte too large"),
        pytest.param(0, "QUJD" * 1000, "bad-request", id="much too large"),
    ],
)
async def test_a_block_that_cannot_be_taken_ends_the_bytestream(bench, seq, text, condition):
    here = bench(4)
    with pytest.raises(BlockRefusedError) as caught:
        here.channel.take(seq, text)
    assert caught.value.condition == condition
    assert here.hung_up == 1
    with pytest.raises(RemoteProtocolError) as error:
        await here.receive()
    assert error.value.condition == "failed-transport"
    with pytest.raises(BlockRefusedError) as caught:
        here.arrive(0, b"abcd")
    assert caught.value.condition == "item-not-found"


async def test_a_repeated_block_is_refused_and_changes_nothing(bench):
    here = bench()
    here.arrive(0, b"abcd")
    with pytest.raises(BlockRefusedError) as caught:
        here.arrive(0, b"evil")
    assert caught.value.condition == "unexpected-request"
    here.arrive(1, b"efgh")
    assert await here.receive() + await here.receive() == b"abcdefgh"


async def test_a_peer_that_waits_for_no_acknowledgement_is_cut_off_with_bounded_memory(bench):
    here = bench(1)
    for seq in range(MAX_WAITING):
        here.arrive(seq, b"x")
    with pytest.raises(BlockRefusedError) as caught:
        here.arrive(MAX_WAITING, b"x")
    assert caught.value.condition == "resource-constraint"


async def test_65537_blocks_arrive_in_order(bench):
    here = bench(2)
    count, data = 65_540, bytearray()

    def work():
        buffer = memoryview(bytearray(4))
        while length := here.channel.recv_into(buffer):
            data.extend(buffer[:length])

    worker = asyncio.create_task(asyncio.to_thread(work))
    for block in range(count):
        acknowledgement = here.arrive(block % 65536, (block % 65521).to_bytes(2))
        if block % 50 == 49:
            await acknowledgement
    here.channel.peer_closed()
    await worker
    assert data == b"".join((block % 65521).to_bytes(2) for block in range(count))
