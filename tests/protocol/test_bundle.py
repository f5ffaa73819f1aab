"""What a bundle looks like, and that nothing else is taken for one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import RemoteProtocolError
from jetcli.protocol.bundle import (
    MAX_BUNDLE_SIZE,
    MAX_MEMBER_SIZE,
    MAX_MEMBERS,
    Member,
    MemberReader,
    judge_bundle,
    member_length,
)
from jetcli.protocol.model import Batch

NOTES = Member("notes.txt", 5, 1_700_000_000), b"hello"
EMPTY = Member("nothing", 0, 0), b""
PROVEN = Member("é.bin", 3, -1, bytes(range(32))), b"abc"
WITHHELD = Member("gone", 4, 9, withheld=True), bytes(4)
ALL = [NOTES, EMPTY, PROVEN, WITHHELD]


def stream(members) -> bytes:
    return b"".join(member.head() + data for member, data in members)


def read(data: bytes, count: int, *cuts: int):
    reader = MemberReader(count)
    taken = []
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        taken += reader.feed(memoryview(data)[begin:end])
    reader.finish()
    return taken


def head(name: bytes, *, flags: int = 0, size: int = 0, length: int | None = None) -> bytes:
    return struct.pack(">BIqH", flags, size, 0, len(name) if length is None else length) + name


@given(st.lists(st.integers(0, len(stream(ALL))), max_size=8))
def test_members_come_back_in_whatever_pieces_the_stream_comes(cuts):
    assert read(stream(ALL), len(ALL), *sorted(cuts)) == ALL


def test_the_length_of_a_member_is_known_before_it_is_read():
    for member, data in ALL:
        expected = len(member.head()) + len(data)
        assert member_length(member.name, member.size, digest=member.sha256 is not None) == expected


def test_a_member_is_handed_over_only_when_all_of_it_is_there():
    reader = MemberReader(1)
    data = stream([NOTES])
    assert reader.feed(memoryview(data)[:-1]) == []
    assert reader.feed(memoryview(data)[-1:]) == [NOTES]


@pytest.mark.parametrize(
    "bad",
    [
        head(b"a", flags=4),
        head(b"a", flags=128),
        head(b"a", size=MAX_MEMBER_SIZE + 1),
        head(b"a", size=2**32 - 1),
        head(b""),
        head(b"", length=2**16 - 1),
        head(b"\xff\xfe"),
        head(b"a" * 1025),
    ],
    ids=[
        "an unknown flag",
        "another one",
        "a byte too large",
        "4 GiB",
        "no name",
        "an endless name",
        "no text",
        "a long name",
    ],
)
def test_what_is_no_member_is_refused_at_its_head(bad):
    with pytest.raises(RemoteProtocolError) as refused:
        MemberReader(1).feed(memoryview(bad))
    assert refused.value.condition == "media-error"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_more_members_than_were_announced_are_refused(count):
    with pytest.raises(RemoteProtocolError, match="more files"):
        read(stream(ALL), count)


def test_surplus_behind_the_last_member_is_refused():
    with pytest.raises(RemoteProtocolError, match="more files"):
        read(stream([NOTES]) + b"x", 1)


@pytest.mark.parametrize("missing", [1, 5, len(stream([PROVEN]))])
def test_a_stream_that_ends_before_its_last_member_is_refused(missing):
    with pytest.raises(RemoteProtocolError, match="lacks 1 of its files"):
        read(stream([NOTES, PROVEN])[:-missing], 2)


def test_an_offer_may_carry_so_many_files_of_its_command():
    judge_bundle(3, 100, Batch("b", 2, 4))
    judge_bundle(MAX_MEMBERS, MAX_BUNDLE_SIZE, Batch("b", 1, MAX_MEMBERS))


@pytest.mark.parametrize(
    ("count", "size", "batch"),
    [
        (3, 100, None),
        (0, 100, Batch("b", 1, 4)),
        (4, 100, Batch("b", 2, 4)),
        (MAX_MEMBERS + 1, 100, Batch("b", 1, 5000)),
        (3, None, Batch("b", 1, 4)),
        (3, MAX_BUNDLE_SIZE * 2, Batch("b", 1, 4)),
    ],
    ids=["of no command", "of nothing", "beyond the last", "too many", "of unknown size", "too large"],
)
def test_an_offer_of_what_can_be_no_bundle_is_refused(count, size, batch):
    with pytest.raises(RemoteProtocolError):
        judge_bundle(count, size, batch)
