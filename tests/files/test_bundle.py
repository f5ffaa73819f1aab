"""Small files read into a bundle, and saved out of one."""

import hashlib
import os
import stat

import pytest

from jetcli.errors import LocalFileError
from jetcli.files import bundle as bundle_module
from jetcli.files.bundle import BundleSource, SmallFiles, SmallSource
from jetcli.files.source import Origin
from jetcli.protocol.bundle import MAX_MEMBER_SIZE, MemberReader


@pytest.fixture
def files(tmp_path):
    """Make small files and return them as the members of a bundle: `files(a=b"1", b=b"22")`."""

    def make(**contents):
        made = []
        for name, content in contents.items():
            path = tmp_path / name
            path.write_bytes(content)
            made.append(SmallSource.of(path))
        return made

    return make


@pytest.fixture
def inbox(tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


@pytest.fixture
def saving(inbox):
    small = SmallFiles(inbox, "k3v9")
    yield small
    small.close()


def all_of(source: BundleSource, step: int) -> bytes:
    view = memoryview(bytearray(step))
    taken = b""
    while count := source.read_into(view, len(taken)):
        taken += bytes(view[:count])
    return taken


def members(source: BundleSource, step: int = 10_000):
    reader = MemberReader(len(source.members))
    found = reader.feed(memoryview(all_of(source, step)))
    reader.finish()
    return found


def contents(inbox):
    return {path.name: path.read_bytes() for path in inbox.iterdir()}


# Sending.


def test_a_bundle_is_an_origin_of_the_size_that_it_says(files):
    source: Origin = BundleSource(files(a=b"one", b=b"", c=bytes(5000)), digests=True)
    assert len(all_of(source, 1000)) == source.size
    assert source.changed() is None


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_its_members_come_one_after_the_other_however_it_is_read(files, step):
    source = BundleSource(files(a=b"one", b=b"", c=b"three"))
    assert [(member.name, data) for member, data in members(source, step)] == [
        ("a", b"one"),
        ("b", b""),
        ("c", b"three"),
    ]
    assert not source.failures


def test_a_member_keeps_its_time_and_carries_its_digest_where_that_is_asked_for(files, tmp_path):
    files(a=b"one")
    os.utime(tmp_path / "a", (1_600_000_000.7, 1_600_000_000.7))
    source = BundleSource([SmallSource.of(tmp_path / "a")], digests=True)
    [(member, _)] = members(source)
    assert (member.mtime, member.sha256) == (1_600_000_000, hashlib.sha256(b"one").digest())


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite", "replace", "remove"])
def test_a_file_that_changed_is_withheld_and_the_others_go(files, tmp_path, change):
    source = BundleSource(files(a=b"one", b=b"two", c=b"three"))
    path = tmp_path / "b"
    match change:
        case "grow":
            path.write_bytes(b"longer")
        case "shrink":
            path.write_bytes(b"x")
        case "rewrite":
            os.utime(path, ns=(0, 0))
        case "replace":
            (tmp_path / "other").write_bytes(b"two")
            os.replace(tmp_path / "other", path)
        case "remove":
            path.unlink()
    found = members(source)
    assert [(member.name, member.withheld) for member, _ in found] == [("a", False), ("b", True), ("c", False)]
    assert found[1][1] == bytes(3)
    assert list(source.failures) == [1]
    assert "b'" in source.failures[1].message


def test_a_file_that_changes_while_it_is_read_is_withheld(files, tmp_path, monkeypatch):
    source = BundleSource(files(a=b"one"))
    read = bundle_module.Source.read_into

    def slowly(self, view, offset):
        path = tmp_path / "a"
        before = path.stat().st_ctime_ns
        while path.stat().st_ctime_ns == before:  # the clock of a file system moves in ticks
            path.write_bytes(b"two")
        return read(self, view, offset)

    monkeypatch.setattr(bundle_module.Source, "read_into", slowly)
    [(member, data)] = members(source)
    assert member.withheld
    assert data == bytes(3)


def test_only_small_regular_files_are_members(tmp_path):
    (tmp_path / "large").write_bytes(bytes(MAX_MEMBER_SIZE + 1))
    (tmp_path / "full").write_bytes(bytes(MAX_MEMBER_SIZE))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert SmallSource.of(tmp_path / "full") is not None
    for name in ("large", "pipe", "folder", "missing"):
        assert SmallSource.of(tmp_path / name) is None


# Saving.


def test_a_file_is_saved_with_its_time_and_the_mode_of_a_new_file(saving, inbox):
    saved = saving.save(1, "a", b"one", mtime=1_600_000_000.0, on_exist="rename")
    saving.settle()
    assert saved == inbox / "a"
    assert contents(inbox) == {"a": b"one"}
    (inbox / "new").touch()
    assert stat.S_IMODE(saved.stat().st_mode) == stat.S_IMODE((inbox / "new").stat().st_mode) & 0o666
    assert saved.stat().st_mtime == 1_600_000_000


def test_two_files_of_one_name_get_a_number(saving, inbox):
    names = [saving.save(place, "a", content, mtime=None, on_exist="rename").name for place, content in
             ((1, b"one"), (2, b"two"))]  # fmt: skip
    assert names == ["a", "a (2)"]
    assert contents(inbox) == {"a": b"one", "a (2)": b"two"}


@pytest.mark.parametrize("on_exist", ["fail", "skip"])
def test_a_taken_name_is_refused_where_it_is_to_be(saving, inbox, on_exist):
    (inbox / "a").write_bytes(b"mine")
    with pytest.raises(LocalFileError, match="'a' exists already") as raised:
        saving.save(1, "a", b"one", mtime=None, on_exist=on_exist)
    assert raised.value.told == "a file of that name is there already"
    assert contents(inbox) == {"a": b"mine"}


def test_a_file_is_replaced_only_where_that_was_asked_for_and_never_a_link(saving, inbox):
    (inbox / "a").write_bytes(b"mine")
    saving.save(1, "a", b"one", mtime=None, on_exist="overwrite")
    (inbox / "b").symlink_to(inbox / "a")
    with pytest.raises(LocalFileError):
        saving.save(2, "b", b"two", mtime=None, on_exist="overwrite")
    assert (inbox / "a").read_bytes() == b"one"
    assert sorted(path.name for path in inbox.iterdir()) == ["a", "b"]


def test_a_full_disk_leaves_nothing(saving, inbox, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module.os, "write", full)
    with pytest.raises(LocalFileError, match="cannot save 'a'") as failed:
        saving.save(1, "a", b"one", mtime=None, on_exist="rename")
    assert "free some space" in failed.value.hint
    assert contents(inbox) == {}


def test_a_file_is_on_the_disk_before_it_has_its_name(saving, monkeypatch):
    order = []
    fsync, give = bundle_module.os.fsync, bundle_module.give_final_name
    monkeypatch.setattr(bundle_module.os, "fsync", lambda fd: (order.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(
        bundle_module, "give_final_name", lambda *args, **kwargs: (order.append("name"), give(*args, **kwargs))[1]
    )
    saving.save(1, "a", b"one", mtime=None, on_exist="rename")
    saving.settle()
    assert order == ["fsync", "name", "fsync"]
