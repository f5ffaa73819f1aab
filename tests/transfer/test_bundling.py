"""Which files go together, and what the receiver's word about them is worth."""

from types import SimpleNamespace

import pytest

from jetcli.errors import DeclinedError, LocalFileError, NotResumableError
from jetcli.files.bundle import BundleSource
from jetcli.files.source import STDIN
from jetcli.protocol import bundle as limits
from jetcli.protocol.model import SOURCE_CHANGED, Batch, MembersEnded, Reason
from jetcli.transfer import bundling as module
from jetcli.transfer.bundling import Bundling, small_files
from jetcli.transfer.events import FileDone, FileFailed, Progress
from jetcli.transfer.options import SendOptions
from jetcli.xmpp.ask import StanzaError


@pytest.fixture
def files(tmp_path):
    """Make small files of these names."""

    def make(*names: str, size: int = 4):
        for name in names:
            (tmp_path / name).write_bytes(bytes(size))
        return [tmp_path / name for name in names]

    return make


def names(found) -> list[str]:
    return [file.name for file in found]


# Which go together.


def test_a_run_of_small_files_ends_at_the_first_that_is_none(files, tmp_path):
    paths = files("a", "b", "c")
    (tmp_path / "large").write_bytes(bytes(limits.MAX_MEMBER_SIZE + 1))
    assert names(small_files([*paths[:2], tmp_path / "large", paths[2]], set())) == ["a", "b"]
    assert names(small_files([*paths[:2], tmp_path, paths[2]], set())) == ["a", "b"]
    assert small_files([tmp_path / "large", *paths], set()) == []


def test_standard_input_is_no_small_file_even_where_a_file_has_its_name(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = files("a", "-")
    assert names(small_files([paths[0], STDIN], set())) == ["a"]


def test_a_file_that_was_interrupted_before_is_continued_by_itself(files):
    paths = files("a", "b", "c")
    assert names(small_files(paths, {str(paths[1])})) == ["a"]


def test_a_bundle_has_its_limits(files, monkeypatch):
    paths = files(*"abcdefgh")
    monkeypatch.setattr(module, "MAX_MEMBERS", 3)
    assert names(small_files(paths, set())) == ["a", "b", "c"]
    monkeypatch.setattr(module, "MAX_BUNDLE_SIZE", 8)
    assert names(small_files(paths, set())) == ["a", "b"]


# What the receiver says.


@pytest.fixture
def sent(files):
    """A bundle of three files of which so many have gone out; its events but for progress are in `told`."""

    def ends(told: list):
        return lambda event: None if isinstance(event, Progress) else told.append(event)

    def send(out: int = 3, paths=None, emit=None):
        told: list = []
        small = small_files(paths or files("a", "b", "c"), set())
        online = SimpleNamespace(transfers=SimpleNamespace(new_id=lambda _random: "k3v9"), network=None)
        peer = SimpleNamespace(jid="juliet@capulet.example/jet.1")
        bundling = Bundling(
            online, peer, small, SendOptions(), emit or ends(told), to="juliet@capulet.example", batch=Batch("b", 1, 3)
        )
        source = bundling._source = BundleSource(small)
        view = memoryview(bytearray(10_000))
        while len(source.sent) < out and source.read_into(view[:1], 0):
            pass
        return bundling, told

    return send


def test_files_are_done_when_the_receiver_says_so(sent):
    bundling, told = sent()
    bundling._members_ended(MembersEnded(2))
    assert [type(event) for event in told] == [FileDone, FileDone]
    assert [event.id for event in told] == ["k3v9", "k3v9-2"]
    bundling._members_ended(MembersEnded(3))
    assert names(bundling.results) == ["a", "b", "c"]


def test_the_whole_of_a_file_is_told_as_progress_before_its_end(sent):
    events: list = []
    bundling, _ = sent(emit=events.append)
    bundling._members_ended(MembersEnded(2, ((1, Reason("decline")),)))
    assert [type(event) for event in events] == [FileFailed, Progress, FileDone]
    assert (events[1].id, events[1].bytes, events[1].size) == ("k3v9-2", 4, 4)


def test_a_refused_file_fails_by_itself(sent):
    bundling, told = sent()
    bundling._members_ended(MembersEnded(3, ((2, Reason("decline", "'b' is here already")),)))
    assert [type(event) for event in told] == [FileDone, FileFailed, FileDone]
    assert isinstance(told[1].error, DeclinedError)
    assert "declined 'b': 'b' is here already" in told[1].error.message


def test_a_receiver_cannot_have_what_has_not_gone_out(sent):
    bundling, told = sent(out=1)
    bundling._members_ended(MembersEnded(1_000_000, ((900_000, Reason("decline")),)))
    assert names(told) == ["a"]


def test_what_was_said_before_is_not_taken_back_or_told_twice(sent):
    bundling, told = sent()
    for count in (3, 1, 0, 3):
        bundling._members_ended(MembersEnded(count, ((1, Reason("decline")),) if count == 1 else ()))
    assert [type(event) for event in told] == [FileDone] * 3


def test_a_withheld_file_has_failed_whatever_the_receiver_says(sent, files):
    paths = files("a", "b", "c")
    small = small_files(paths, set())
    assert len(small) == 3
    bundling, told = sent(out=0, paths=paths)
    paths[1].unlink()
    view = memoryview(bytearray(10_000))
    bundling._source.read_into(view, 0)
    bundling._members_ended(MembersEnded(3))
    assert [type(event) for event in told] == [FileDone, FileFailed, FileDone]
    assert isinstance(told[1].error, LocalFileError)


@pytest.mark.parametrize(
    "error",
    [
        DeclinedError("no, thank you", hint="ask again"),
        NotResumableError("it has changed", application=SOURCE_CHANGED),
        StanzaError("capulet.example", "remote-server-timeout", "try later", None),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_file_that_did_not_go_is_told_with_the_cause(sent, error):
    bundling, told = sent(out=1)
    bundling._members_ended(MembersEnded(1))
    cause = error.message
    bundling._fail_rest(error)
    assert [event.error.message for event in told[1:]] == [
        f"'b' was not sent: {cause}",
        f"'c' was not sent: {cause}",
    ]
    for event in told[1:]:
        assert (type(event.error), event.error.hint, str(event.error)) == (type(error), error.hint, event.error.message)
    assert error.message == cause
    assert names(bundling.results) == ["a", "b", "c"]
