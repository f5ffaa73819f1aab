"""The file that is received: the part, what becomes of it, and that nothing else in the directory changes."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading

import pytest
from sinks import CONTENT, PART, created, failing, filled, listing, recorded, reopened

from jetcli.errors import LocalFileError, NotResumableError, SetupError
from jetcli.files import sink as sink_module
from jetcli.files.sink import Output, Sink
from jetcli.files.syncer import SYNC_BYTES


def open_descriptors() -> set[str]:
    return set(os.listdir("/dev/fd"))


def test_a_sink_is_an_output(inbox):
    output: Output = filled(inbox)
    assert output.position == len(CONTENT)
    assert output.publish() == inbox / "report.pdf"


# The part file


def test_until_it_is_published_a_file_is_only_a_closed_part(inbox):
    sink = filled(inbox)
    assert listing(inbox) == {PART: CONTENT}
    status = (inbox / PART).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert (sink.part_path, sink.part_inode) == (inbox / PART, status.st_ino)
    sink.discard()


def test_a_part_stays_usable_under_any_umask(inbox):
    mask = os.umask(0o777)
    try:
        created(inbox).keep()
    finally:
        os.umask(mask)
    assert stat.S_IMODE((inbox / PART).stat().st_mode) == 0o600


@pytest.mark.parametrize("plant", ["file", "link", "dangling link", "directory", "fifo"])
def test_nothing_that_stands_in_the_place_of_the_part_is_touched(inbox, tmp_path, plant):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    match plant:
        case "file":
            (inbox / PART).write_bytes(b"precious")
        case "link":
            (inbox / PART).symlink_to(victim)
        case "dangling link":
            (inbox / PART).symlink_to(tmp_path / "missing")
        case "directory":
            (inbox / PART).mkdir()
        case "fifo":
            os.mkfifo(inbox / PART)
    before, descriptors = listing(inbox), open_descriptors()
    with pytest.raises(LocalFileError, match=f"something else is in the place of '{PART}'"):
        created(inbox)
    assert listing(inbox) == before
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "missing").exists()
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("name", ["", ".", "..", "../report.pdf", "a/b", "/etc/passwd", "nul\0"], ids=ascii)
def test_a_name_that_is_not_one_component_is_refused(inbox, name):
    with pytest.raises(LocalFileError, match="is not the name of a file"):
        created(inbox, name)
    assert listing(inbox) == {}


def test_a_transfer_id_that_is_not_one_is_a_bug(inbox):
    with pytest.raises(ValueError, match="not a transfer id"):
        Sink.create(inbox, "report.pdf", "../../k3v9", size=None)


def test_a_missing_directory_is_named(inbox):
    with pytest.raises(LocalFileError, match=r"cannot write to '.*/missing': no such directory"):
        created(inbox / "missing")


def test_a_file_is_no_directory(inbox):
    (inbox / "file").touch()
    with pytest.raises(LocalFileError, match=r"cannot write to '.*/file': not a directory"):
        created(inbox / "file")


def test_a_directory_that_takes_no_files_is_named(inbox, monkeypatch):
    opened = os.open

    def read_only(path, flags, *args, **options):
        return failing(errno.EROFS)() if flags & os.O_CREAT else opened(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", read_only)
    descriptors = open_descriptors()
    with pytest.raises(LocalFileError, match=r"cannot write to '.*inbox': read-only file system"):
        created(inbox)
    assert open_descriptors() == descriptors


def test_the_file_stays_in_the_directory_that_was_opened(inbox, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sink = filled(inbox)
    inbox.rename(tmp_path / "moved")
    inbox.symlink_to(elsewhere)
    sink.publish()
    assert listing(elsewhere) == {}
    assert listing(tmp_path / "moved") == {"report.pdf": CONTENT}


# Writing


def test_writes_follow_each_other(inbox):
    sink = created(inbox, size=None)
    for piece in (b"one ", b"", b"two ", b"three"):
        sink.write(memoryview(piece))
    assert sink.position == 13
    assert sink.publish().read_bytes() == b"one two three"


def test_a_write_that_the_system_splits_is_completed(inbox, monkeypatch):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, view, offset: pwrite(descriptor, view[:3], offset))
    assert filled(inbox).publish().read_bytes() == CONTENT


def test_what_is_written_can_be_cut_and_continued(inbox):
    sink = filled(inbox, size=9)
    sink.truncate(4)
    assert sink.position == 4
    sink.write(memoryview(b"other"))
    assert sink.publish().read_bytes() == b"the other"


@pytest.mark.parametrize(
    ("number", "why", "hint", "told"),
    [
        (errno.ENOSPC, "no space left", "free some space in", "no space left there"),
        (errno.EDQUOT, "disk quota used up", "free some space in", "no space left there"),
        (errno.EFBIG, "file too large for this file system or limit", "", "it is too large for the disk there"),
        (errno.EIO, "input/output error", "", ""),
    ],
)
def test_a_full_disk_says_what_was_written_and_the_part_stays(inbox, monkeypatch, number, why, hint, told):
    pwrite = os.pwrite

    def fill_up(descriptor, view, offset):
        return pwrite(descriptor, view[:5], offset) if offset == 0 else failing(number)()

    sink = created(inbox)
    monkeypatch.setattr(os, "pwrite", fill_up)
    with pytest.raises(LocalFileError) as raised:
        sink.write(memoryview(CONTENT))
    assert raised.value.message == f"cannot write 'report.pdf': {why} after 5 bytes"
    assert raised.value.hint.startswith(hint)
    assert raised.value.told == told
    assert sink.position == 5
    assert sink.keep() == 5
    assert listing(inbox) == {PART: CONTENT[:5]}

    monkeypatch.setattr(os, "pwrite", pwrite)
    sink = reopened(inbox, sink.part_inode, length=5, size=len(CONTENT))
    sink.write(memoryview(CONTENT[5:]))
    assert sink.publish().read_bytes() == CONTENT


def test_the_systems_own_size_limit_is_an_error_and_no_signal(inbox):
    script = """
        import resource, sys
        from pathlib import Path
        from jetcli.errors import LocalFileError
        from jetcli.files.sink import Sink

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        sink = Sink.create(Path(sys.argv[1]), "big", "k3v9", size=None)
        try:
            sink.write(memoryview(bytes(10_000)))
        except LocalFileError as error:
            print(error.message, sink.keep())
    """
    told = run(script, inbox)
    assert told == "cannot write 'big': file too large for this file system or limit after 4096 bytes 4096\n"
    assert listing(inbox) == {PART: bytes(4096)}


# Syncing


def test_a_sync_tells_how_many_bytes_are_safe_and_saves_the_parts_name_too(inbox, monkeypatch):
    sink = filled(inbox)
    calls = recorded(monkeypatch, inbox)
    assert sink.sync() == len(CONTENT)
    assert calls == ["fdatasync part", "fsync directory"]
    assert sink.sync() == len(CONTENT)
    assert calls == ["fdatasync part", "fsync directory", "fdatasync part"]
    sink.discard()


def test_syncing_in_the_background_tells_what_is_safe(inbox):
    safe: list[int] = []
    told = threading.Event()
    sink = created(inbox, size=None)
    sink.sync_in_background(lambda position: (safe.append(position), told.set()))
    sink.truncate(SYNC_BYTES - 1)
    sink.write(memoryview(b"x"))
    assert told.wait(20)
    assert safe == [SYNC_BYTES]
    assert sink.keep() == SYNC_BYTES
    assert not [thread for thread in threading.enumerate() if thread.name == "jet-sync"]


def test_a_state_that_cannot_be_written_fails_the_next_write_and_leaves_the_part(inbox):
    def fail(_position: int) -> None:
        raise SetupError("the state in 'x' is held by another program")

    sink = created(inbox, size=None)
    sink.sync_in_background(fail)
    syncing = sink._syncer._thread
    sink.truncate(SYNC_BYTES - 1)
    sink.write(memoryview(b"x"))
    syncing.join(20)
    for attempt in (lambda: sink.write(memoryview(b"y")), sink.sync):
        with pytest.raises(SetupError, match="held by another program"):
            attempt()
    assert sink.keep() == SYNC_BYTES
    assert (inbox / PART).stat().st_size == SYNC_BYTES


def test_a_sync_that_failed_once_is_never_forgotten(inbox, monkeypatch):
    sink = filled(inbox)
    monkeypatch.setattr(sink_module, "_sync_data", failing(errno.EIO))
    with pytest.raises(LocalFileError, match="input/output error"):
        sink.sync()
    monkeypatch.undo()
    for attempt in (sink.sync, lambda: sink.write(memoryview(b"x")), sink.publish):
        with pytest.raises(LocalFileError, match="input/output error"):
            attempt()
    assert listing(inbox) == {PART: CONTENT}


def test_a_part_whose_sync_fails_is_kept_and_claims_only_what_was_safe(inbox, monkeypatch):
    sink = filled(inbox)
    sink.sync()
    sink.write(memoryview(b"more"))
    monkeypatch.setattr(sink_module, "_sync_data", failing(errno.EIO))
    assert sink.keep() == len(CONTENT)
    assert listing(inbox) == {PART: CONTENT + b"more"}


def test_bytes_that_were_cut_off_are_not_claimed_to_be_safe(inbox, monkeypatch):
    sink = filled(inbox)
    sink.sync()
    sink.truncate(4)
    monkeypatch.setattr(sink_module, "_sync_data", failing(errno.EIO))
    assert sink.keep() == 4


# Reopening


@pytest.mark.parametrize(("length", "position"), [(14, 14), (5, 5), (0, 0), (20, 14)])
def test_a_part_is_cut_to_what_its_record_vouches_for(inbox, length, position):
    sink = filled(inbox)
    sink.keep()
    again = reopened(inbox, sink.part_inode, length)
    assert again.position == position
    again.write(memoryview(b"+"))
    assert again.publish().read_bytes() == CONTENT[:position] + b"+"


def test_a_part_without_a_recorded_inode_is_adopted(inbox):
    filled(inbox).keep()
    assert reopened(inbox, None).publish().read_bytes() == CONTENT


def test_a_part_that_is_gone_cannot_be_resumed(inbox):
    with pytest.raises(NotResumableError, match=rf"'{PART}' is gone from"):
        reopened(inbox, 1)


@pytest.mark.parametrize("plant", ["link", "link to the part", "another file", "hard link", "fifo", "directory"])
def test_what_took_the_place_of_the_part_is_not_touched(inbox, tmp_path, plant):
    sink = filled(inbox)
    sink.keep()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (inbox / PART).rename(inbox / "moved")
    match plant:
        case "link":
            (inbox / PART).symlink_to(victim)
        case "link to the part":
            (inbox / PART).symlink_to("moved")
        case "another file":
            (inbox / PART).write_bytes(CONTENT)
        case "hard link":
            (inbox / PART).hardlink_to(victim)
        case "fifo":
            os.mkfifo(inbox / PART)
        case "directory":
            (inbox / PART).mkdir()
    descriptors = open_descriptors()
    with pytest.raises(LocalFileError, match=PART) as raised:
        reopened(inbox, sink.part_inode, length=3)
    assert raised.value.exit_code == 13
    assert victim.read_bytes() == b"precious"
    assert (inbox / "moved").read_bytes() == CONTENT
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("plant", ["link", "hard link", "fifo"])
def test_only_a_regular_file_of_one_name_is_adopted(inbox, tmp_path, plant):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    match plant:
        case "link":
            (inbox / PART).symlink_to(victim)
        case "hard link":
            (inbox / PART).hardlink_to(victim)
        case "fifo":
            os.mkfifo(inbox / PART)
    with pytest.raises(LocalFileError, match=PART):
        reopened(inbox, None, length=3)
    assert victim.read_bytes() == b"precious"


# Ending


def test_a_discarded_part_is_gone(inbox):
    sink = filled(inbox)
    sink.discard()
    sink.discard()
    assert sink.keep() == 0
    assert listing(inbox) == {}


def test_a_file_in_the_place_of_the_part_is_not_discarded(inbox):
    sink = filled(inbox)
    (inbox / PART).unlink()
    (inbox / PART).write_bytes(b"precious")
    sink.discard()
    assert listing(inbox) == {PART: b"precious"}


@pytest.mark.parametrize("end", ["publish", "keep", "discard"])
def test_an_ended_sink_holds_no_descriptor_and_no_thread(inbox, end):
    descriptors = open_descriptors()
    sink = filled(inbox)
    sink.sync_in_background(lambda position: None)
    getattr(sink, end)()
    sink.keep()
    sink.discard()
    assert open_descriptors() == descriptors
    assert not [thread for thread in threading.enumerate() if thread.name == "jet-sync"]


# Space


def run(script: str, *arguments: object) -> str:
    """Run a script in a process of its own and return what it prints."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
