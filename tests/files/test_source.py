"""The file that is sent: what may be opened, what is read, what counts as a change."""

import errno
import os
import socket
from pathlib import Path

import pytest

from jetcli.errors import LocalFileError
from jetcli.files.source import Source, SourceIdentity


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "letter.txt"
    path.write_bytes(bytes(range(200)))
    return path


def refusal(path: Path) -> LocalFileError:
    with pytest.raises(LocalFileError) as raised:
        Source.open(path)
    return raised.value


def read(source: Source, offset: int, length: int) -> bytes:
    view = memoryview(bytearray(length))
    return bytes(view[: source.read_into(view, offset)])


def touch_until_seen(path: Path, identity: SourceIdentity) -> None:
    """Repeat an edit that restores size and mtime until the clock of the file system has moved on."""
    while os.stat(path).st_ctime_ns == identity.ctime_ns:
        path.write_bytes(bytes(200))
        os.utime(path, ns=(identity.mtime_ns, identity.mtime_ns))


def test_a_source_knows_its_name_size_time_and_identity(path):
    os.utime(path, (1.7e9, 1.7e9))
    status = path.stat()
    with Source.open(path) as source:
        assert (source.name, source.size, source.mtime) == ("letter.txt", 200, 1.7e9)
        assert source.identity == SourceIdentity(
            status.st_dev, status.st_ino, 200, status.st_mtime_ns, status.st_ctime_ns
        )
        assert source.changed() is None


def test_a_source_can_be_sent_under_another_name(path):
    with Source.open(path, "other.txt") as source:
        assert source.name == "other.txt"


def test_a_symbolic_link_of_the_user_is_followed(path, tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    with Source.open(link) as source:
        assert (source.name, source.size) == ("link.txt", 200)
        assert source.changed() is None


def test_bytes_are_read_at_any_offset_and_fewer_at_the_end(path):
    with Source.open(path) as source:
        assert read(source, 0, 200) == bytes(range(200))
        assert read(source, 150, 20) == bytes(range(150, 170))
        assert read(source, 190, 20) == bytes(range(190, 200))
        assert read(source, 200, 20) == b""
        assert read(source, 2**40, 20) == b""


def test_a_read_that_the_system_splits_is_put_together(path, monkeypatch):
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, views, offset: preadv(descriptor, [views[0][:7]], offset))
    with Source.open(path) as source:
        assert read(source, 3, 100) == bytes(range(3, 103))


def test_a_missing_file_is_named(tmp_path):
    error = refusal(tmp_path / "missing.bin")
    assert error.message == f"cannot read '{tmp_path}/missing.bin': no such file"
    assert error.exit_code == 13


def test_a_directory_is_refused_with_the_way_to_send_it(tmp_path):
    directory = tmp_path / "two words"
    directory.mkdir()
    error = refusal(directory)
    assert error.message == f"'{directory}' is a directory"
    assert error.hint.startswith(f"tar c '{directory}' | jet send -")


def test_a_device_is_refused():
    error = refusal(Path("/dev/zero"))
    assert error.message == "'/dev/zero' is not a regular file"
    assert error.hint.startswith("jet send -")


def test_a_fifo_is_refused_and_nobody_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").message.endswith("is not a regular file")


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("sock")
        assert refusal(Path("sock")).message == "'sock' is not a regular file"


def test_a_fifo_that_takes_the_place_while_the_file_is_opened_is_refused(path, monkeypatch):
    regular = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda _path: regular)
    before = open_descriptors()
    assert refusal(path).message.endswith("is not a regular file")
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EIO, "input/output error"),
        (errno.EMFILE, "too many open files"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named_with_the_cause(path, monkeypatch, number, why):
    monkeypatch.setattr(os, "open", failing(number))
    assert refusal(path).message == f"cannot read '{path}': {why}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_refused(path):
    path.chmod(0)
    assert refusal(path).message.endswith("permission denied")


def test_a_read_error_of_the_disk_is_an_error_of_this_file(path, monkeypatch):
    with Source.open(path) as source:
        monkeypatch.setattr(os, "preadv", failing(errno.EIO))
        with pytest.raises(LocalFileError, match=r"cannot read '.*letter\.txt': input/output error"):
            read(source, 0, 10)


@pytest.mark.parametrize(
    "name", ["new\nline", "esc\x1b", "undecodable\udcff", "\ufffe", "", ".", "..", "a/b"], ids=ascii
)
def test_a_name_that_no_stanza_can_carry_is_refused_before_anything_is_sent(path, name):
    with pytest.raises(LocalFileError, match="cannot be sent") as raised:
        Source.open(path, name)
    assert raised.value.hint == "jet send --name NAME sends it under another"
    assert raised.value.message.isprintable()


def test_a_file_with_such_a_name_goes_under_another(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path.write_bytes(b"x")
    assert r"caf\udce9" in refusal(path).message
    with Source.open(path, "café") as source:
        assert source.changed() is None


def test_a_grown_or_shrunk_source_has_changed(path):
    with Source.open(path) as source:
        with path.open("ab") as more:
            more.write(b"x")
        assert source.changed() == "its size went from 200 to 201 bytes"
        os.truncate(path, 10)
        assert source.changed() == "its size went from 200 to 10 bytes"


def test_an_edit_that_keeps_the_size_has_changed_the_source(path):
    with Source.open(path) as source:
        path.write_bytes(bytes(200))
        os.utime(path, (1.6e9, 1.6e9))
        assert source.changed() == "it was modified"


def test_an_edit_is_seen_although_size_and_mtime_were_restored(path):
    with Source.open(path) as source:
        touch_until_seen(path, source.identity)
        assert os.stat(path).st_mtime_ns == source.identity.mtime_ns
        assert source.changed() == "it was modified"


def test_an_edit_half_way_is_seen_at_the_end(path):
    with Source.open(path) as source:
        assert read(source, 0, 100)
        assert source.changed() is None
        touch_until_seen(path, source.identity)
        assert read(source, 100, 100)
        assert source.changed() == "it was modified"


def test_a_file_in_the_place_of_the_source_is_a_change(path, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(path.read_bytes())
    with Source.open(path) as source:
        other.replace(path)
        assert source.changed() == "another file took its place"


def test_a_removed_source_is_a_change(path):
    with Source.open(path) as source:
        path.unlink()
        assert source.changed() == "it was removed"


def test_closing_twice_closes_once(path):
    before = open_descriptors()
    source = Source.open(path)
    source.close()
    source.close()
    assert open_descriptors() == before


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


def failing(number: int):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_source_of_another_size_or_time_or_none_is_superseded(path):
    with Source.open(path) as source:
        assert not source.superseded()
        os.utime(path, (1, 1))
        assert source.superseded()
    with Source.open(path) as source:
        os.truncate(path, 10)
        assert source.superseded()
    with Source.open(path) as source:
        path.unlink()
        assert source.superseded()


def test_a_source_that_may_still_be_proven_is_not_superseded(path):
    with Source.open(path) as source:
        while os.stat(path).st_ctime_ns == source.identity.ctime_ns:
            path.chmod(0o640)
        assert source.changed() is not None
        assert not source.superseded()
