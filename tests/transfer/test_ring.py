import hashlib
import threading

import pytest

from jetcli.transfer.ring import Ring, buffers


def test_the_digest_is_over_all_buffers_in_the_order_they_were_given():
    with Ring(4, hashing=True) as ring:
        for at in range(100):
            buffer = ring.take()
            buffer[:2] = bytes([at, at + 1])
            ring.give(buffer, 2)
        assert ring.digest() == hashlib.sha256(b"".join(bytes([at, at + 1]) for at in range(100))).digest()


def test_two_buffers_can_be_held_at_once():
    with Ring(4, hashing=False) as ring:
        first, second = ring.take(), ring.take()
        first[:], second[:] = b"aaaa", b"bbbb"
        assert bytes(first) == b"aaaa"


def test_the_buffer_that_was_used_last_is_taken_first():
    with Ring(4, hashing=False) as ring:
        first = ring.take()
        ring.give(first, 4)
        assert ring.take() is first


def test_no_buffer_is_made_after_the_first_ones():
    with Ring(4, hashing=True) as ring:
        seen = set()
        for _ in range(50):
            buffer = ring.take()
            seen.add(id(buffer))
            ring.give(buffer, 4)
    assert len(seen) == 4


def test_buffers_lie_side_by_side_and_do_not_overlap():
    made = buffers(3, 5000)
    for number, buffer in enumerate(made):
        buffer[:] = bytes([number]) * 5000
    assert [bytes(buffer) for buffer in made] == [bytes([number]) * 5000 for number in range(3)]
    assert len({id(buffer.obj) for buffer in made}) == 1


def test_a_ring_without_hashing_has_no_digest_and_no_thread():
    before = set(threading.enumerate())
    with Ring(4, hashing=False) as ring:
        assert set(threading.enumerate()) <= before
        assert ring.digest() is None


def test_leaving_a_ring_ends_its_thread_even_on_an_error():
    before = set(threading.enumerate())
    ring = Ring(4, hashing=True)
    with pytest.raises(BrokenPipeError), ring:
        raise BrokenPipeError
    assert set(threading.enumerate()) <= before
