"""Tar archives as they are in the wild, and as somebody makes them who wants a reader to fail."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import shutil
import subprocess
import tarfile
import tracemalloc
from contextlib import contextmanager

import pytest
from archives import folder, link, member, packed

from jetcli.errors import LocalFileError, RemoteProtocolError
from jetcli.files import tarstream
from jetcli.files.archive import unpack

MIB = 1024 * 1024
TAR = shutil.which("tar")
GNU_TAR = TAR is not None and b"GNU tar" in subprocess.run([TAR, "--version"], capture_output=True, check=False).stdout


@contextmanager
def memory_below(limit):
    """Check that no more than this is allocated at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def announced(kind, body) -> bytes:
    """Return a header of this type, without a member that it would be for."""
    info = tarfile.TarInfo("announced")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


def record(key, value) -> bytes:
    """Return a PAX record, whose length counts its own digits."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return b"%d" % length + rest


def checked(block) -> bytes:
    """Return a header block with the sum that belongs to it."""
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.fixture
def written(tmp_path):
    """Write these bytes as an archive."""

    def write(data, name="gift.tar"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


def damaged(path) -> None:
    with pytest.raises(RemoteProtocolError, match="was not unpacked: it is damaged, or no archive"):
        unpack(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"X"]
)
def test_a_header_without_end_is_refused_before_it_is_read(written, kind):
    body = record(b"comment", bytes(32 * MIB)) if kind in {b"x", b"g", b"X"} else b"n" * (32 * MIB)
    path = written(gzip.compress(announced(kind, body) + packed([member("x")]), 1), "gift.tar.gz")
    del body
    with memory_below(4 * MIB), pytest.raises(RemoteProtocolError, match="a header that is larger than 1 MiB"):
        unpack(path, most=10 * MIB)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_many_headers_before_one_member_are_refused_together(written, kind):
    body = b"" if kind == tarfile.GNUTYPE_LONGNAME else record(b"comment", b"x")
    path = written(gzip.compress(announced(kind, body) * 5_000 + packed([member("x")]), 1), "gift.tar.gz")
    with memory_below(4 * MIB), pytest.raises(RemoteProtocolError, match="a header that is larger than 1 MiB"):
        unpack(path)


def test_no_member_is_kept_once_it_is_unpacked(archive):
    members = [folder("d", pax_headers={"comment": "x" * 8000}) for _ in range(2_000)]
    path = archive(*members, format=tarfile.PAX_FORMAT)
    with memory_below(4 * MIB):
        assert [each.name for each in unpack(path).rglob("*")] == ["d"]


def test_what_is_said_of_all_members_is_not_gathered(written):
    comments = b"".join(
        announced(tarfile.XGLTYPE, record(b"key%d" % n, b"x" * 8000)) + packed([folder("d")])[:512]
        for n in range(2_000)
    )
    path = written(gzip.compress(comments + bytes(1024), 1), "gift.tar.gz")
    with memory_below(4 * MIB):
        unpack(path)


def test_a_large_attribute_is_passed_over(archive):
    path = archive(member("x", b"1", pax_headers={"SCHILY.xattr.user.big": "y" * 600_000}), format=tarfile.PAX_FORMAT)
    assert (unpack(path) / "x").read_bytes() == b"1"


def test_what_is_said_of_all_members_holds_for_all_that_follow(written):
    data = announced(tarfile.XGLTYPE, record(b"mtime", b"1000000000.5")) + packed([member("x", b"1"), member("y")])
    unpacked = unpack(written(data))
    assert {path.stat().st_mtime for path in unpacked.iterdir()} == {1_000_000_000.5}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_with_long_names_is_read(archive, form):
    name = "/".join(["a" * 70, "b" * 70, "c" * 90])
    unpacked = unpack(archive(member(name, b"1" * 1000), link("l", "b" * 90), member("z", b"2"), format=form))
    assert (unpacked / name).read_bytes() == b"1" * 1000
    assert os.readlink(unpacked / "l") == "b" * 90
    assert (unpacked / "z").read_bytes() == b"2"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("name", ["gift.tar", "gift.tgz", "gift.tar.xz"])
def test_an_archive_is_decompressed_whatever_its_name_says(written, compress, name):
    path = written(compress(packed([member("x", b"1" * 100_000)])), name)
    assert (unpack(path) / "x").read_bytes() == b"1" * 100_000


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_what_was_compressed_in_parts_is_one_archive(written, compress):
    whole = packed([member("x", random.Random(1).randbytes(100_000))])
    path = written(compress(whole[:50_000]) + compress(whole[50_000:]))
    assert (unpack(path) / "x").read_bytes() == whole[512:100_512]


@pytest.mark.parametrize("name", ["BZh", "\x1f\x8b", "]\0\0"])
def test_a_name_like_the_beginning_of_something_compressed_is_a_name(written, name):
    unpacked = unpack(written(packed([member(name, b"1")], format=tarfile.GNU_FORMAT)))
    assert [path.read_bytes() for path in unpacked.iterdir()] == [b"1"]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("kept", [0, 1, 300, 512, 60_000])
def test_an_archive_that_breaks_off_is_refused(written, compress, kept):
    whole = packed([member("x", random.Random(1).randbytes(100_000)), member("y")])
    cut = compress(whole)[:kept]
    damaged(written(cut))


def test_zeros_between_and_after_compressed_parts_are_passed_over(written):
    whole = packed([member("x", random.Random(1).randbytes(100_000))])
    halves = lzma.compress(whole[:50_000]), lzma.compress(whole[50_000:])
    path = written(bytes(8).join(halves) + bytes(4))
    assert (unpack(path) / "x").read_bytes() == whole[512:100_512]


def test_a_dictionary_that_would_take_all_memory_is_refused(written):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1024 * MIB}]
    path = written(lzma.compress(packed([member("x", b"1")]), filters=filters))
    with memory_below(4 * MIB), pytest.raises(RemoteProtocolError, match="more than 128 MiB of memory to decompress"):
        unpack(path)


def test_the_largest_dictionary_of_xz_is_not_too_large(written):
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 64 * MIB}]
    assert (unpack(written(lzma.compress(packed([member("x", b"1")]), filters=filters))) / "x").read_bytes() == b"1"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_what_cannot_be_decompressed_is_refused(written, compress):
    data = bytearray(compress(packed([member("x", random.Random(1).randbytes(100_000))])))
    data[24:124] = b"\xff" * 100
    damaged(written(data))


def test_a_member_that_is_damaged_does_not_pass_for_the_end(written):
    data = bytearray(packed([member("x", b"1"), member("y", b"2")]))
    data[1024 + 5] ^= 1
    damaged(written(data))


@pytest.mark.parametrize("end", [0, 512, 1024, 100])
def test_an_archive_may_end_without_the_blocks_that_mark_it(written, end):
    data = packed([member("x", b"1")])[:1024] + bytes(end)
    assert [path.name for path in unpack(written(data)).iterdir()] == ["x"]


def test_an_empty_archive_is_an_empty_directory(written):
    assert list(unpack(written(packed([]))).iterdir()) == []


@pytest.mark.parametrize(
    "records",
    [
        record(b"size", b"-512"),
        record(b"size", b"9" * 5000),
        record(b"size", b"many"),
        record(b"path", b"a\0b"),
        record(b"mtime", b"soon"),
        b"9" * 100_000,
        b"0 path=x\n",
        b"-5 path=x\n",
        b"99 path=x\n",
        b"9 path=xx",
        b"5 =\n",
        record(b"GNU.sparse.map", b"0,1"),
        record(b"GNU.sparse.map", b"0,1,2") + record(b"GNU.sparse.size", b"9"),
        record(b"GNU.sparse.map", b"4,1,0,1") + record(b"GNU.sparse.size", b"9"),
        record(b"GNU.sparse.map", b"0,-1,0,1") + record(b"GNU.sparse.size", b"9"),
        record(b"GNU.sparse.map", b"0,1") + record(b"GNU.sparse.size", b"0"),
        record(b"GNU.sparse.map", b"0,9999") + record(b"GNU.sparse.size", b"9999"),
        record(b"GNU.sparse.map", b"0,1") + record(b"GNU.sparse.size", b"9" * 25),
        record(b"GNU.sparse.major", b"1") + record(b"GNU.sparse.realsize", b"1"),
    ],
)
def test_records_that_make_no_sense_are_refused(written, records):
    damaged(written(announced(tarfile.XHDTYPE, records) + packed([member("x", b"1\n" * 300), member("y")])))


@pytest.mark.parametrize("size", [-1, -512, -100_000, 2**64])
def test_a_size_that_leads_back_or_nowhere_is_refused(written, size):
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (size + (256**12 if size < 0 else 1 << 95)).to_bytes(12, "big")
    damaged(written(packed([member("a", b"1")])[:1024] + checked(block) + bytes(1024)))


def test_headers_without_a_member_are_refused(written):
    damaged(written(packed([member("x")])[:512] + announced(tarfile.XHDTYPE, record(b"path", b"y")) + bytes(1024)))


SPARSE = (b"a" * 600 + bytes(5000) + b"b" * 400 + bytes(300))[:6300]


def sparse(records, before=b"") -> bytes:
    info = tarfile.TarInfo("x")
    info.size = len(before) + 1000
    data = info.tobuf(tarfile.USTAR_FORMAT) + before + b"a" * 600 + b"b" * 400 + bytes(24)
    return announced(tarfile.XHDTYPE, b"".join(records)) + data + packed([member("y", b"2")])


def oldest_sparse() -> bytes:
    """Return GNU's own format, with the second extent in a block of its own."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 1000
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (0, 600)
    block[482] = 1
    block[483:495] = b"%011o\0" % 6300
    more = (b"%011o\0%011o\0" % (5600, 400) + b"%011o\0%011o\0" % (6300, 0)).ljust(512, b"\0")
    return checked(block) + more + b"a" * 600 + b"b" * 400 + bytes(24) + packed([member("y", b"2")])


@pytest.mark.parametrize(
    "data",
    [
        sparse(
            [
                record(b"GNU.sparse.size", b"6300"),
                *[
                    record(b"GNU.sparse." + key, value)
                    for start, length in [(b"0", b"600"), (b"5600", b"400")]
                    for key, value in [(b"offset", start), (b"numbytes", length)]
                ],
            ]
        ),
        sparse([record(b"GNU.sparse.size", b"6300"), record(b"GNU.sparse.map", b"0,600,5600,400,6300,0")]),
        sparse(
            [
                record(b"GNU.sparse.major", b"1"),
                record(b"GNU.sparse.minor", b"0"),
                record(b"GNU.sparse.name", b"x"),
                record(b"GNU.sparse.realsize", b"6300"),
                record(b"path", b"GNUSparseFile.0/x"),
            ],
            before=b"3\n0\n600\n5600\n400\n6300\n0\n".ljust(512, b"\0"),
        ),
        oldest_sparse(),
    ],
    ids=["0.0", "0.1", "1.0", "old"],
)
def test_sparse_files_come_back(written, data):
    unpacked = unpack(written(data), most=6301)
    assert (unpacked / "x").read_bytes() == SPARSE
    assert (unpacked / "y").read_bytes() == b"2"


def test_the_whole_size_of_a_sparse_file_counts(written):
    with pytest.raises(RemoteProtocolError, match="more than there is room for"):
        unpack(written(oldest_sparse()), most=6299)


def test_content_that_no_sparse_file_uses_counts_too(written):
    info = tarfile.TarInfo("x")
    info.size = 10**12
    records = record(b"GNU.sparse.size", b"1") + record(b"GNU.sparse.map", b"0,1")
    with pytest.raises(RemoteProtocolError, match="more than there is room for"):
        unpack(written(announced(tarfile.XHDTYPE, records) + info.tobuf(tarfile.GNU_FORMAT) + bytes(512)), most=10**9)


@pytest.mark.skipif(not GNU_TAR, reason="needs GNU tar")
@pytest.mark.parametrize(
    "options",
    [
        ["--format=v7"],
        ["--format=ustar"],
        ["--format=oldgnu", "-S"],
        ["--format=gnu", "-S"],
        ["--format=posix", "-S"],
        ["--format=posix", "-S", "--sparse-version=0.0"],
        ["--format=posix", "-S", "--sparse-version=0.1"],
    ],
)
def test_what_gnu_tar_packs_comes_back(tmp_path, options):
    source = tmp_path / "tree"
    (source / "deep").mkdir(parents=True)
    with (source / "deep" / "holes").open("wb") as file:
        for n in range(40):
            file.seek(n * 200_000)
            file.write(b"%d" % n * 3000)
        file.truncate(40 * 200_000)
    (source / "deep" / "link").symlink_to("holes")
    os.link(source / "deep" / "holes", source / "twice")
    there = tmp_path / "there"
    there.mkdir()
    subprocess.run([TAR, *options, "-cf", there / "gift.tar", "-C", tmp_path, "./tree"], check=True)
    unpacked = unpack(there / "gift.tar") / "tree"
    assert (unpacked / "deep" / "holes").read_bytes() == (source / "deep" / "holes").read_bytes()
    assert os.readlink(unpacked / "deep" / "link") == "holes"
    assert (unpacked / "twice").samefile(unpacked / "deep" / "holes")


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_changed_an_archive_is_unpacked_or_refused(tmp_path, seed):
    chance = random.Random(seed)
    members = [folder("d"), member("d/x", b"1" * 700), link("d/l", "x"), member("n" * 120, b"2"), member("../up"[3:])]
    data = bytearray(packed(members, format=chance.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))
    end = len(data.rstrip(b"\0"))
    for _ in range(chance.choice([1, 3, 10])):
        data[chance.randrange(end)] = chance.randrange(256)
    # With the sums set right again, what was changed is read.
    for start in range(0, len(data), 512):
        if re.match(b"ustar", data[start + 257 : start + 262]) and chance.random() < 0.9:
            data[start : start + 512] = checked(data[start : start + 512])
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "gift.tar"
    path.write_bytes(data)
    try:
        unpack(path, most=MIB)
    except (RemoteProtocolError, LocalFileError):
        assert [each.name for each in path.parent.iterdir()] == ["gift.tar"]
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


def test_a_stream_is_only_read_forwards():
    class Forwards(io.BytesIO):
        def seek(self, place, whence=0):
            assert (place, whence, self.tell()) == (0, 0, 512), "once, after it was looked at for a compression"
            return super().seek(place, whence)

    tar = tarstream.TarStream(Forwards(packed([member("x", b"1" * 600), member("y", b"2")])))
    found = tar.next()
    assert b"".join(piece for _, piece in tar.content(found)) == b"1" * 600
    assert (tar.next().name, tar.next()) == ("y", None)
