from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.bytestream import (
    SequenceCheck,
    Verdict,
    Window,
    dst_addr,
    sequence_number,
    strict_base64,
)


def test_dst_addr_is_that_of_the_examples_of_xep_0260():
    romeo, juliet = "romeo@montague.lit/orchard", "juliet@capulet.lit/balcony"
    assert dst_addr("vj3hs98y", romeo, juliet) == "972b7bf47291ca609517f67f86b5081086052dad"
    assert dst_addr("vj3hs98y", juliet, romeo) == "1a12fb7bc625e55f3ed5b29a53dbe0e4aa7d80ba"


@given(st.binary(max_size=200))
def test_base64_that_is_canonical_is_decoded(data):
    assert strict_base64(b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    ["QUJD!!\n*RA==", "QUJD\n", " QUJD", "QU JD", "QUJD==",
     "QUI", "QUI==", "=AAA", "BBBB=CCC", "QR==", "QUJ=", "====", "QQ==QQ==", "QUJD====",
     "QUJD=", "Q", "QUJ_", "QÜJD", "\u0661\u0661\u0661\u0661", "QUJD\0"],
)  # fmt: skip
def test_base64_that_is_not_canonical_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is Python's own
        strict_base64(text)


@given(st.text(alphabet="QUJDR=+/ \n-", max_size=16))
def test_whatever_base64_is_taken_encodes_to_the_same_text(text):
    try:
        data = strict_base64(text)
    except ValueError:
        return
    assert b64encode(data).decode() == text


def test_sequence_numbers_wrap_to_0_after_65535():
    assert [sequence_number(block) for block in (0, 1, 65535, 65536, 131073)] == [0, 1, 65535, 0, 1]


def test_a_short_sequence_wraps_to_0_after_65534():
    assert [sequence_number(block, 65535) for block in (65534, 65535, 131070)] == [65534, 0, 0]


@pytest.mark.parametrize("modulo", [65536, 65535])
def test_65537_blocks_and_more_are_in_order(modulo):
    check = SequenceCheck(modulo)
    assert all(check.take(sequence_number(block, modulo)) is Verdict.NEXT for block in range(65540))


def test_a_sequence_that_never_wraps_is_in_order():
    check = SequenceCheck()
    assert all(check.take(block) is Verdict.NEXT for block in range(65540))


def past_the_wrap(check, numbers):
    for block in range(65535):
        assert check.take(block) is Verdict.NEXT
    return [check.take(number) for number in numbers]


def test_a_sequence_that_wrapped_once_must_go_on_wrapping():
    assert past_the_wrap(SequenceCheck(), [65535, 0, 65537]) == [Verdict.NEXT, Verdict.NEXT, Verdict.LOST]


def test_a_short_sequence_is_an_error_unless_the_caller_knows_the_peer_for_it():
    assert past_the_wrap(SequenceCheck(), [0]) == [Verdict.LOST]
    assert past_the_wrap(SequenceCheck(65535), [0, 1]) == [Verdict.NEXT, Verdict.NEXT]


def test_a_peer_known_for_short_sequences_may_have_been_mended():
    assert past_the_wrap(SequenceCheck(65535), [65535, 0]) == [Verdict.NEXT, Verdict.NEXT]


def test_a_number_of_a_recent_block_is_repeated_and_moves_nothing():
    check = SequenceCheck()
    assert [check.take(seq) for seq in (0, 1, 1, 0, 2)] == [
        Verdict.NEXT,
        Verdict.NEXT,
        Verdict.REPEATED,
        Verdict.REPEATED,
        Verdict.NEXT,
    ]


@pytest.mark.parametrize("seq", [2, 65535, 65536, 2**63])
def test_any_other_number_means_that_a_block_is_missing(seq):
    check = SequenceCheck()
    check.take(0)
    assert check.take(seq) is Verdict.LOST


def test_a_number_from_long_ago_means_that_blocks_are_missing():
    check = SequenceCheck(recent=4)
    for block in range(10):
        check.take(block)
    assert check.take(6) is Verdict.REPEATED
    assert check.take(5) is Verdict.LOST


def test_a_window_opens_with_each_block_that_is_acknowledged_soon_up_to_32_blocks():
    window = Window(4096)
    sizes = [window.size]
    for _ in range(40):
        window.acknowledged(0.05)
        sizes.append(window.size)
    assert sizes[:3] == [4, 5, 6]
    assert sizes[-1] == 32


def test_a_window_of_large_blocks_holds_a_mebibyte():
    window = Window(65535)
    for _ in range(40):
        window.acknowledged(0.05)
    assert window.size * 65535 <= 1024 * 1024 < (window.size + 1) * 65535


def test_a_window_closes_to_one_block_where_a_server_throttles_and_opens_again():
    window = Window(4096)
    for _ in range(8):
        window.acknowledged(9)
    assert window.size == 1
    window.acknowledged(0.05)
    assert window.size == 2


@given(st.integers(1, 2**20), st.lists(st.floats(0, 100)))
def test_there_is_always_room_for_a_block_in_a_window(block_size, round_trips):
    window = Window(block_size)
    for round_trip in round_trips:
        window.acknowledged(round_trip)
        assert 1 <= window.size <= 32
