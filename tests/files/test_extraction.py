"""What an archive may make in its directory, and what it may not make anywhere."""

import os
import stat
import tarfile

import pytest
from archives import folder, hard_link, link, member, packed

from jetcli.errors import RemoteProtocolError
from jetcli.files import extraction
from jetcli.files.archive import ArchiveSource, unpack

# What tarfile has had only since 3.11.4.
FILTERS = [
    "FilterError",
    "AbsolutePathError",
    "OutsideDestinationError",
    "SpecialFileError",
    "AbsoluteLinkError",
    "LinkOutsideDestinationError",
    "data_filter",
    "tar_filter",
    "fully_trusted_filter",
]


def refused(path) -> str:
    """Say why; nothing may be left, neither in the directory nor outside."""
    with pytest.raises(RemoteProtocolError, match="was not unpacked") as refusal:
        unpack(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return refusal.value.message


def tree(directory) -> dict:
    """Return what lies in a directory: files with their bytes, links with their targets, directories with nothing."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else path.read_bytes()
    return found


def longer_than_any_path(through):
    """Return directories and short links into them, sixteen deep: where they lead has more letters than PATH_MAX."""
    members, path = [], ""
    for name in "abcdefghijklmnop":
        members += [folder(f"{path}{'d' * 247}"), link(f"{path}{name}", "d" * 247)]
        path += f"{'d' * 247}/"
    ups = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    return [*members, link(ups, "../" * 16), link("escape", f"{ups}/../../outside"), member(through, b"pwned")]


@pytest.mark.parametrize("through", ["escape/newfile", "escape/victim"])
def test_links_longer_than_a_path_may_be_lead_nowhere(archive, through):
    path = archive(*longer_than_any_path(through))
    outside = path.parent.parent / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"original")
    assert "' goes through 'a', which is no directory" in refused(path)
    assert tree(outside) == {"victim": b"original"}


@pytest.mark.parametrize("within", [1, 15], ids=["short", "deep"])
def test_a_link_through_a_link_that_comes_later_stays_inside(archive, within):
    deep = "/".join("abcdefghijklmno"[:within])
    path = archive(folder(deep), link("out", "turn/.."), link("turn", deep), link("further", "turn/../../outside"))
    assert "'further' would lead outside" in refused(path)


def test_a_link_that_goes_down_and_up_again_is_made_without_the_detour(archive):
    unpacked = unpack(archive(folder("a"), link("a/turn", "b/../c"), link("a/up", "./../a/./c"), member("a/c", b"x")))
    assert tree(unpacked) == {"a": None, "a/turn": "c", "a/up": "./../a/./c", "a/c": b"x"}
    assert (unpacked / "a" / "up").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["..", "../victim", "./../gift/../victim"])
def test_a_link_to_the_top_keeps_the_level_that_it_needs(archive, target):
    path = archive(folder("gift"), member("gift/file", b"x"), link("gift/link", target))
    (path.parent / "victim").write_bytes(b"private")
    unpacked = unpack(path)
    assert (unpacked / "gift" / "file").read_bytes() == b"x"
    assert (unpacked / "gift" / "link").resolve().is_relative_to(unpacked)


@pytest.mark.parametrize(
    ("members", "cause"),
    [
        ([link("a", "b"), member("a/x", b"")], "'a/x' goes through 'a', which is no directory"),
        ([folder("b"), link("a", "b"), member("a/x", b"")], "'a/x' goes through 'a', which is no directory"),
        ([folder("b"), link("a", "b"), folder("a")], "'a' goes through 'a', which is no directory"),
        ([member("a", b""), member("a/x", b"")], "'a/x' goes through 'a', which is no directory"),
        ([folder("b"), link("a", "b"), hard_link("x", "a/y")], "'x' goes through 'a', which is no directory"),
        ([folder("b"), member("b", b"")], "'b' would take the place of a directory"),
        ([folder("b"), link("b", "c")], "'b' would take the place of a directory"),
        ([member(".", b"x")], "'.' would take the place of a directory"),
        ([hard_link("x", "nothing")], "'x' is another name of no file before it"),
        ([folder("b"), hard_link("x", "b")], "'x' is another name of no file before it"),
        ([hard_link("x", "/etc/passwd")], "'x' would lead outside of the new directory"),
        ([hard_link("x", "../gift.tar")], "'x' would lead outside of the new directory"),
        ([folder("b"), link("b/up", "../c"), hard_link("x", "b/up")], "'x' would lead outside of the new directory"),
        ([member("a/../../x", b"")], "'a/../../x' would lie outside of the new directory"),
        ([member("d/" * 129 + "x", b"")], "lies more than 128 directories deep"),
        ([member("/".join(["n" * 255] * 17), b"")], "has too long a name or target"),
        ([link("x", "/".join(["n" * 255] * 17))], "'x' has too long a name or target"),
        ([hard_link("x", "/".join(["n" * 255] * 17))], "'x' has too long a name or target"),
    ],
)
def test_what_is_in_the_way_or_behind_a_link_is_not_written(archive, members, cause):
    assert cause in refused(archive(*members))


def test_an_archive_has_no_more_names_than_jet_unpacks(archive, monkeypatch):
    monkeypatch.setattr(extraction, "_MOST_NAMES", 3)
    assert "it holds more than 3 names" in refused(archive(*[member(name, b"") for name in "abcd"]))


def test_directories_that_nobody_lists_are_counted(archive, monkeypatch):
    monkeypatch.setattr(extraction, "_MOST_NAMES", 3)
    assert "it holds more than 3 names" in refused(archive(member("a/b/c/d/e", b"")))


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ([member("d/x", b"1"), folder("d"), member("e", b"")], {"d": None, "d/x": b"1", "e": b""}),
        ([member("a/b/c", b"1"), member("e", b"")], {"a": None, "a/b": None, "a/b/c": b"1", "e": b""}),
        ([folder("./"), folder("./d"), member("./d/x", b"1")], {"d": None, "d/x": b"1"}),
        ([folder("a"), member("a/../b", b"1")], {"a": None, "b": b"1"}),
        ([member("x", b"old"), member("y", b""), member("x", b"new")], {"x": b"new", "y": b""}),
        ([member("x", b"old"), hard_link("y", "x"), member("x", b"new")], {"x": b"new", "y": b"old"}),
        ([link("x", "y"), member("y", b"safe"), member("x", b"new")], {"x": b"new", "y": b"safe"}),
        ([member("x", b"1"), link("x", "y")], {"x": "y"}),
        ([member("x", b"1"), hard_link("./x", "x")], {"x": b"1"}),
        ([member("d/x", b"1"), hard_link("e/y", "d/x")], {"d": None, "d/x": b"1", "e": None, "e/y": b"1"}),
        ([link("x", "y"), hard_link("z", "x")], {"x": "y", "z": "y"}),
        ([member("x", b"1", type=tarfile.CONTTYPE), link("nowhere", "gone")], {"x": b"1", "nowhere": "gone"}),
        ([member("d", b"no content of a directory", type=tarfile.DIRTYPE, size=0)], {"d": None}),
    ],
)
def test_odd_archives_that_harm_nobody_are_unpacked(archive, members, found):
    assert tree(unpack(archive(*members))) == found


def test_a_second_name_is_the_same_file(archive):
    unpacked = unpack(archive(member("x", b"1"), hard_link("y", "x")))
    assert (unpacked / "x").samefile(unpacked / "y")


def test_a_packed_tree_with_links_of_both_kinds_comes_back(tmp_path):
    source = tmp_path / "tree"
    (source / "deep" / "deeper").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(b"x")
    (source / ("n" * 200)).write_bytes(b"a long name")
    (source / os.fsdecode(b"not utf-8: \xff")).write_bytes(b"y")
    (source / "deep" / "deeper" / "up").symlink_to("../file")
    (source / "deep" / "deeper" / "nowhere").symlink_to("../gone")
    os.link(source / "deep" / "file", source / "twice")
    os.utime(source / "deep" / "file", (1_000_000_000.5, 1_000_000_000.5))
    there = tmp_path / "there"
    there.mkdir()
    with ArchiveSource(source, None) as packing, (there / "tree.tar").open("wb") as out:
        buffer, place = memoryview(bytearray(65_536)), 0
        while count := packing.read_into(buffer, place):
            out.write(buffer[:count])
            place += count
    unpacked = unpack(there / "tree.tar")
    assert tree(unpacked) == tree(source)
    assert (unpacked / "twice").samefile(unpacked / "deep" / "file")
    assert (unpacked / "twice").stat().st_mtime == 1_000_000_000.5


def test_modes_are_those_of_anything_new(archive):
    path = archive(folder("d", mode=0), member("d/x", b"1", mode=0o7777), member("y", b"1", mode=0))
    mask = os.umask(0o027)
    try:
        unpacked = unpack(path)
    finally:
        os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in unpacked.rglob("*")}
    assert modes == {"d": 0o750, "x": 0o640, "y": 0o640}


@pytest.mark.parametrize("mtime", ["inf", "nan", "1e300", "-1e300"])
def test_a_time_that_is_none_is_passed_over(archive, mtime):
    info, content = member("x", b"1")
    info.pax_headers = {"mtime": mtime}
    assert (unpack(archive((info, content))) / "x").read_bytes() == b"1"


def test_the_tarfile_of_the_first_3_11_is_enough(archive, monkeypatch):
    for name in FILTERS:
        monkeypatch.delattr(tarfile, name, raising=False)
    monkeypatch.delattr(tarfile.TarFile, "extract")
    monkeypatch.delattr(tarfile.TarFile, "extractall")
    path = archive(member("a", b"1"), link("b", "a"))
    assert tree(unpack(path)) == {"a": b"1", "b": "a"}
    path.write_bytes(packed([member("../a", b"1")]))
    with pytest.raises(RemoteProtocolError, match=r"'\.\./a' would lie outside"):
        unpack(path)
