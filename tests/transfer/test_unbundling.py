"""What a bundle may do to the directory that it is saved in: what its members could do one by one, and no more."""

import hashlib
from dataclasses import replace

import pytest

from jetcli.errors import DeclinedError, IntegrityError, InterruptedTransferError, LocalFileError, RemoteProtocolError
from jetcli.protocol.bundle import MAX_MEMBER_SIZE, Member
from jetcli.transfer.events import Consent
from jetcli.transfer.options import ReceiveOptions
from jetcli.transfer.unbundling import MemberFiles, Rules


@pytest.fixture
def unbundled(inbox):
    """Write members into the inbox and return how each ended; keywords are options, `had` and `consent`."""

    def write(*members, count=None, had=frozenset(), consent=None, **options):
        ended = []
        rules = Rules(ReceiveOptions(inbox, **options), consent or Consent(accept=True), had)
        files = MemberFiles(inbox, "k3v9", len(members) if count is None else count, rules, ended.extend)
        try:
            files.write(memoryview(b"".join(member.head() + data for member, data in members)))
            files.publish()
        finally:
            files.discard()
        return ended

    return write


def member(name: str, data: bytes = b"data", **fields):
    return replace(Member(name, len(data), 0), **fields), data


def contents(inbox):
    return {path.name: path.read_bytes() for path in inbox.iterdir()}


def test_every_member_becomes_a_file(unbundled, inbox):
    ended = unbundled(member("a", b"1"), member("b", b""), member("c", b"333"))
    assert contents(inbox) == {"a": b"1", "b": b"", "c": b"333"}
    assert [(one.place, one.path) for one in ended] == [(1, inbox / "a"), (2, inbox / "b"), (3, inbox / "c")]


@pytest.mark.parametrize(
    "name", ["../up", "..", ".", "/etc/passwd", "a/b", "a\\b", "nul\0", "x" * 300, ".hidden", ".jet-k3v9.part", "a\nb"]
)
def test_a_name_that_a_single_file_could_not_have_is_refused_and_the_others_are_saved(unbundled, inbox, name):
    first, bad, last = unbundled(member("a"), member(name), member("b"))
    assert isinstance(bad.error, DeclinedError | RemoteProtocolError)
    assert set(contents(inbox)) == {"a", "b"}
    assert (first.error, last.error) == (None, None)
    assert list(inbox.parent.iterdir()) == [inbox]


def test_a_hidden_name_is_taken_where_the_user_allows_it(unbundled, inbox):
    unbundled(member(".profile"), allow_hidden=True)
    assert set(contents(inbox)) == {".profile"}


def test_members_of_one_name_do_not_replace_each_other(unbundled, inbox):
    unbundled(member("a", b"1"), member("a", b"2"), member("a", b"3"))
    assert contents(inbox) == {"a": b"1", "a (2)": b"2", "a (3)": b"3"}


@pytest.mark.parametrize(
    ("on_exist", "error", "left"),
    [
        ("rename", None, {"a": b"mine", "a (2)": b"data"}),
        ("overwrite", None, {"a": b"data"}),
        ("skip", DeclinedError, {"a": b"mine"}),
        ("fail", LocalFileError, {"a": b"mine"}),
    ],
)
def test_a_taken_name_is_treated_as_the_user_wants(unbundled, inbox, on_exist, error, left):
    (inbox / "a").write_bytes(b"mine")
    taken, _ = unbundled(member("a"), member("b"), on_exist=on_exist)
    assert type(taken.error) is (error or type(None))
    assert contents(inbox) == left | {"b": b"data"}


def test_what_the_person_answered_holds_for_all_and_a_new_name_for_the_first(unbundled, inbox):
    (inbox / "b").write_bytes(b"mine")
    unbundled(member("a"), member("b"), consent=Consent(accept=True, name="first", on_exist="overwrite"))
    assert contents(inbox) == {"first": b"data", "b": b"data"}


def test_a_member_larger_than_allowed_is_declined_by_itself(unbundled, inbox):
    large, _ = unbundled(member("large", bytes(100)), member("small"), max_size=99)
    assert isinstance(large.error, DeclinedError)
    assert set(contents(inbox)) == {"small"}


def test_a_withheld_member_is_not_saved(unbundled, inbox):
    kept_back, _ = unbundled(member("a", bytes(4), withheld=True), member("b"))
    assert isinstance(kept_back.error, InterruptedTransferError)
    assert set(contents(inbox)) == {"b"}


def test_a_member_that_is_not_what_its_digest_says_is_not_saved(unbundled, inbox):
    wrong, right = unbundled(member("a", sha256=bytes(32)), member("b", sha256=hashlib.sha256(b"data").digest()))
    assert isinstance(wrong.error, IntegrityError)
    assert right.path == inbox / "b"
    assert set(contents(inbox)) == {"b"}


def test_what_is_here_already_is_not_saved_twice(unbundled, inbox):
    ended = unbundled(member("a"), member("b"), had={1})
    assert contents(inbox) == {"b": b"data"}
    assert (ended[0].path, ended[0].error) == (None, None)


def test_surplus_members_are_refused_and_nothing_of_that_chunk_is_saved(unbundled, inbox):
    with pytest.raises(RemoteProtocolError, match="more files"):
        unbundled(member("a"), member("b"), member("c"), count=2)
    assert contents(inbox) == {}


def test_a_bundle_that_lacks_a_member_fails_although_what_came_is_saved(unbundled, inbox):
    with pytest.raises(RemoteProtocolError, match="lacks 1 of its files"):
        unbundled(member("a"), count=2)
    assert contents(inbox) == {"a": b"data"}


@pytest.mark.parametrize("said", [3, 5, MAX_MEMBER_SIZE, MAX_MEMBER_SIZE + 1])
def test_a_size_that_is_a_lie_does_not_get_through(unbundled, inbox, said):
    with pytest.raises(RemoteProtocolError):
        unbundled(member("a", size=said))
    assert contents(inbox) == {}


def test_members_are_told_of_only_after_their_directory_is_on_the_disk(inbox, monkeypatch):
    def refuse(_self):
        raise LocalFileError("what was saved may not survive a crash: input/output error")

    monkeypatch.setattr("jetcli.transfer.unbundling.SmallFiles.settle", refuse)
    told = []
    rules = Rules(ReceiveOptions(inbox), Consent(accept=True))
    files = MemberFiles(inbox, "k3v9", 1, rules, told.extend)
    first, data = member("a")
    with pytest.raises(LocalFileError, match="may not survive"):
        files.write(memoryview(first.head() + data))
    files.discard()
    assert told == []
