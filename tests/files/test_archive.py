"""Directories as tar streams, and archives that nobody should unpack."""

import os
import tarfile

import pytest
from archives import member

from jetcli.errors import LocalFileError, RemoteProtocolError
from jetcli.files.archive import ArchiveSource, unpack


def read(source) -> bytes:
    buffer, whole = memoryview(bytearray(65_536)), b""
    while count := source.read_into(buffer, len(whole)):
        whole += bytes(buffer[:count])
    return whole


def test_a_tree_comes_back_as_it_was(tmp_path):
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(b"x" * 200_000)
    (tree / "link").symlink_to("deep/file")
    skipped = []
    os.mkfifo(tree / "pipe")
    with ArchiveSource(tree, None, skipped.append) as source:
        packed = read(source)
    assert (source.name, source.size, skipped) == ("tree.tar", None, [str(tree / "pipe")])
    there = tmp_path / "there"
    there.mkdir()
    (there / "tree.tar").write_bytes(packed)
    unpacked = unpack(there / "tree.tar")
    assert unpacked == there / "tree"
    assert (unpacked / "deep" / "file").read_bytes() == b"x" * 200_000
    assert os.readlink(unpacked / "link") == "deep/file"
    assert [path.name for path in there.iterdir()] == ["tree"]


def test_a_tree_that_comes_again_looks_the_same_in_its_numbered_directory(tmp_path):
    tree, there = tmp_path / "tree.d", tmp_path / "there"
    (tree / "deep").mkdir(parents=True)
    there.mkdir()
    for name in ("tree.d.tar", "tree.d.tar", "tree.d (2).tar"):
        with ArchiveSource(tree, None) as source:
            (there / name).write_bytes(read(source))
        assert [path.name for path in unpack(there / name).iterdir()] == ["deep"]
    assert len(list(there.iterdir())) == 3


def test_a_file_that_cannot_be_packed_fails_the_stream(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")

    def broken(*_args, **_kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(tarfile.TarFile, "addfile", broken)
    with ArchiveSource(tmp_path, None) as source, pytest.raises(LocalFileError, match="cannot pack"):
        read(source)


def test_a_source_that_is_closed_early_leaves_no_thread(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    with ArchiveSource(tmp_path, None) as source:
        source.read_into(memoryview(bytearray(10)), 0)
    assert not source._packer.is_alive()


@pytest.mark.parametrize(
    "evil",
    [
        member("../escaped", b"evil"),
        member("/tmp/escaped-absolutely", b"evil"),
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("link", type=tarfile.SYMTYPE, linkname="../../outside"),
        member("hard", type=tarfile.LNKTYPE, linkname="../gift.tar"),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("fifo", type=tarfile.FIFOTYPE),
    ],
    ids=["up", "absolute", "link to the root", "link outside", "hard link", "device", "fifo"],
)
def test_a_hostile_archive_leaves_nothing_behind(archive, evil, tmp_path):
    path = archive(member("harmless", b"x"), evil)
    with pytest.raises(RemoteProtocolError, match="was not unpacked") as refusal:
        unpack(path)
    assert f"'{evil[0].name}' " in refusal.value.message
    assert str(tmp_path) not in refusal.value.message, "the sender is told the same"
    assert [each.name for each in path.parent.iterdir()] == ["gift.tar"]
    assert [each.name for each in path.parent.parent.iterdir()] == ["in"]


def test_a_bomb_is_refused_before_it_fills_the_disk(archive):
    path = archive(member("a", bytes(600)), member("b", bytes(600)))
    with pytest.raises(RemoteProtocolError, match="more than there is room for"):
        unpack(path, most=1000)
    assert [each.name for each in path.parent.iterdir()] == ["gift.tar"]


def test_what_is_no_archive_is_kept_as_it_is(tmp_path):
    (tmp_path / "gift.tar").write_bytes(b"not a tar" * 1000)
    with pytest.raises(RemoteProtocolError):
        unpack(tmp_path / "gift.tar")
    assert [each.name for each in tmp_path.iterdir()] == ["gift.tar"]


def test_no_rights_of_the_archive_are_taken_over(archive):
    path = archive(member("run", b"#!", mode=0o6777))
    unpacked = unpack(path)
    assert (unpacked / "run").stat().st_mode & 0o7111 == 0
