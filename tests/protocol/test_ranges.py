"""Arithmetic of byte ranges."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.model import Range
from jetcli.protocol.ranges import merged, missing, rest_of, span

pieces = st.lists(st.builds(lambda start, length: range(start, start + length), st.integers(0, 60), st.integers(0, 20)))


def members(ranges) -> set[int]:
    return {byte for piece in ranges for byte in piece}


def is_tidy(ranges) -> bool:
    return all(ranges) and all(a.stop < b.start for a, b in pairwise(ranges))


@given(pieces, st.integers(0, 90))
def test_what_is_missing_is_the_complement_sorted_and_disjoint(held, size):
    gaps = missing(held, size)
    assert members(gaps) == set(range(size)) - members(held)
    assert is_tidy(gaps)


@given(pieces, st.randoms(use_true_random=False))
def test_ranges_added_in_any_order_are_the_same_set(held, chance: random.Random):
    shuffled = chance.sample(held, len(held))
    assert merged(shuffled) == merged(held)
    assert members(merged(held)) == members(held)
    assert is_tidy(merged(held))


@given(pieces, st.integers(0, 90))
def test_nothing_is_missing_once_the_gaps_are_filled(held, size):
    assert missing([*held, *missing(held, size)], size) == []


def test_an_empty_file_misses_nothing():
    assert missing([], 0) == []
    assert missing([], 5) == [range(5)]


def test_sizes_beyond_four_gibibytes_are_exact():
    assert missing([range(2**40)], 2**62) == [range(2**40, 2**62)]
    assert missing([range(1, 2**63)], 2**63) == [range(1)]


@pytest.mark.parametrize(
    ("wanted", "bytes_meant"),
    [
        (None, range(10)),
        (Range(), range(10)),
        (Range(4), range(4, 10)),
        (Range(4, 2), range(4, 6)),
        (Range(4, 6), range(4, 10)),
        (Range(0, 0), range(0)),
        (Range(10), range(10, 10)),
        (Range(10, 0), range(10, 10)),
    ],
)
def test_a_range_inside_the_file_means_these_bytes(wanted, bytes_meant):
    found = span(wanted, 10)
    assert (found.start, found.stop) == (bytes_meant.start, bytes_meant.stop)


@pytest.mark.parametrize("wanted", [Range(11), Range(-1), Range(0, 11), Range(4, 7), Range(4, -1), Range(2**63 - 1, 5)])
def test_a_range_outside_the_file_is_refused(wanted):
    with pytest.raises(RemoteProtocolError, match="lies outside a file of 10 bytes"):
        span(wanted, 10)


@given(st.integers(-5, 30), st.none() | st.integers(-5, 30), st.integers(0, 20))
def test_no_byte_before_the_offset_or_outside_the_file_is_ever_meant(offset, length, size):
    try:
        found = span(Range(offset, length), size)
    except RemoteProtocolError:
        return
    assert found.start == offset
    assert members([found]) <= set(range(offset, size))
    assert length is None or found.stop - found.start == length


@given(offset=st.integers(0, 2**64), size=st.integers(0, 2**64))
def test_the_rest_begins_where_it_was_asked_for_or_is_refused(offset, size):
    if offset <= size:
        assert rest_of(Range(offset), size) == Range(offset)
    else:
        with pytest.raises(RemoteProtocolError) as refused:
            rest_of(Range(offset), size)
        assert refused.value.exit_code == 15


def test_without_a_range_the_rest_is_all():
    assert rest_of(None, 10) == Range()


def test_less_than_the_rest_is_refused():
    assert rest_of(Range(4, 6), 10) == Range(4)
    with pytest.raises(RemoteProtocolError, match="ends at 9 of 10 bytes"):
        rest_of(Range(4, 5), 10)
