"""How a verified part gets its name: in which order, under which name, and what a crash or a race leaves."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from sinks import CONTENT, PART, created, failing, filled, listing, recorded, reopened

from jetcli.errors import InterruptedTransferError, LocalFileError
from jetcli.files.sink import Sink


def test_publishing_keeps_its_order(inbox, monkeypatch):
    sink = filled(inbox)
    calls = recorded(monkeypatch, inbox)
    assert sink.publish() == inbox / "report.pdf"
    assert calls == ["fsync part", "fchmod part", "link", "unlink", "fsync directory"]
    assert listing(inbox) == {"report.pdf": CONTENT}


def test_a_published_file_is_never_executable_and_obeys_the_umask(inbox):
    mask = os.umask(0o027)
    try:
        final = filled(inbox).publish()
    finally:
        os.umask(mask)
    assert stat.S_IMODE(final.stat().st_mode) == 0o640
    assert final.stat().st_nlink == 1


def test_the_umask_is_read_without_proc_too(inbox, monkeypatch):
    monkeypatch.setattr("builtins.open", failing(errno.ENOENT))
    mask = os.umask(0o077)
    try:
        final = filled(inbox).publish()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
    assert stat.S_IMODE(final.stat().st_mode) == 0o600


def test_a_believable_time_is_applied_and_another_is_not(inbox):
    assert filled(inbox).publish(1.6e9).stat().st_mtime == 1.6e9
    for mtime in (None, -1e9, 1e12, float("nan")):
        age = filled(inbox).publish(mtime).stat()
        assert abs(age.st_mtime - age.st_ctime) < 60


@pytest.mark.parametrize("plant", ["file", "dangling link", "directory"])
def test_a_name_that_is_taken_during_the_transfer_gets_a_number(inbox, plant):
    sinks = [filled(inbox), Sink.create(inbox, "report.pdf", "zz", size=0)]
    match plant:
        case "file":
            (inbox / "report.pdf").write_bytes(b"precious")
        case "dangling link":
            (inbox / "report.pdf").symlink_to(inbox / "nowhere")
        case "directory":
            (inbox / "report.pdf").mkdir()
    before = listing(inbox).get("report.pdf")
    assert [sink.publish().name for sink in sinks] == ["report (2).pdf", "report (3).pdf"]
    after = listing(inbox)
    assert after.pop("report.pdf") == before
    assert after == {"report (2).pdf": CONTENT, "report (3).pdf": b""}


@pytest.mark.parametrize("options", [{"on_exist": "fail"}, {"on_exist": "skip"}, {"output": True}], ids=str)
def test_a_name_that_may_not_vary_fails_and_the_verified_part_is_named(inbox, options):
    sink = filled(inbox, **options)
    (inbox / "report.pdf").write_bytes(b"precious")
    with pytest.raises(LocalFileError) as raised:
        sink.publish()
    assert raised.value.message == f"cannot save 'report.pdf': it exists already; all of it is kept as '{PART}'"
    assert raised.value.hint == f"mv {inbox}/{PART} NAME"
    sink.discard()
    assert listing(inbox) == {"report.pdf": b"precious", PART: CONTENT}
    assert stat.S_IMODE((inbox / PART).stat().st_mode) == 0o600


def test_a_kept_part_is_published_later_under_another_name(inbox):
    sink = filled(inbox, output=True)
    (inbox / "report.pdf").touch()
    with pytest.raises(LocalFileError):
        sink.publish()
    again = Sink.reopen(
        inbox, "other.pdf", "k3v9", inode=sink.part_inode, length=len(CONTENT), size=len(CONTENT), output=True
    )
    assert again.publish().read_bytes() == CONTENT
    assert listing(inbox) == {"report.pdf": b"", "other.pdf": CONTENT}


@pytest.mark.parametrize("options", [{"on_exist": "fail"}, {"on_exist": "skip"}, {"output": True}], ids=str)
def test_a_name_that_is_taken_from_the_start_fails_before_the_transfer(inbox, options):
    (inbox / "report.pdf").write_bytes(b"precious")
    with pytest.raises(LocalFileError, match=r"'report\.pdf' exists already"):
        created(inbox, **options)
    assert listing(inbox) == {"report.pdf": b"precious"}


@pytest.mark.parametrize("output", [False, True])
def test_only_an_explicit_overwrite_replaces_a_file(inbox, output):
    (inbox / "report.pdf").write_bytes(b"old")
    assert filled(inbox, on_exist="overwrite", output=output).publish() == inbox / "report.pdf"
    assert listing(inbox) == {"report.pdf": CONTENT}


@pytest.mark.parametrize("plant", ["link", "directory", "fifo"])
def test_an_overwrite_replaces_nothing_but_a_regular_file(inbox, tmp_path, plant):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    match plant:
        case "link":
            (inbox / "report.pdf").symlink_to(victim)
        case "directory":
            (inbox / "report.pdf").mkdir()
        case "fifo":
            os.mkfifo(inbox / "report.pdf")
    with pytest.raises(LocalFileError, match="it exists already"):
        filled(inbox, on_exist="overwrite").publish()
    assert victim.read_bytes() == b"precious"
    assert set(listing(inbox)) == {"report.pdf", PART}


def test_two_processes_with_one_name_both_keep_their_content(inbox):
    race = "print(sink.publish().name)"
    names = in_parallel(inbox, race, on_exist="rename")
    assert sorted(names) == ["x", "x (2)", "x (3)"]
    assert sorted(listing(inbox).values()) == [b"0" * 100_000, b"1" * 100_000, b"2" * 100_000]


def test_of_two_processes_that_may_not_rename_one_wins_and_nothing_is_lost(inbox):
    race = """
        try:
            print(sink.publish().name)
        except LocalFileError as error:
            print(error.exit_code)
    """
    names = in_parallel(inbox, race, on_exist="fail")
    assert sorted(names) == ["13", "13", "x"]
    assert sorted(listing(inbox).values()) == [b"0" * 100_000, b"1" * 100_000, b"2" * 100_000]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_directory_that_turned_read_only_keeps_the_verified_part(inbox, monkeypatch, number):
    sink = filled(inbox)
    monkeypatch.setattr(os, "link", failing(number))
    with pytest.raises(LocalFileError, match=rf"cannot save 'report\.pdf': .*; all of it is kept as '{PART}'"):
        sink.publish()
    monkeypatch.undo()
    assert listing(inbox) == {PART: CONTENT}
    assert reopened(inbox, sink.part_inode).publish().read_bytes() == CONTENT


def test_a_disk_that_does_not_confirm_the_bytes_publishes_nothing(inbox, monkeypatch):
    sink = filled(inbox)
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(LocalFileError, match="input/output error; all of it is kept"):
        sink.publish()
    assert listing(inbox) == {PART: CONTENT}


def test_a_disk_that_does_not_confirm_the_name_is_told_of(inbox, monkeypatch):
    fsync = os.fsync

    def fail_for_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            failing(errno.EIO)()
        fsync(descriptor)

    sink = filled(inbox)
    monkeypatch.setattr(os, "fsync", fail_for_directories)
    with pytest.raises(LocalFileError, match=r"'report\.pdf' is saved, but may not survive a crash"):
        sink.publish()
    assert listing(inbox) == {"report.pdf": CONTENT}


def test_a_file_that_is_too_short_is_not_published(inbox):
    sink = filled(inbox, size=len(CONTENT) + 1)
    with pytest.raises(InterruptedTransferError, match="has only 14 of 15 bytes"):
        sink.publish()
    assert listing(inbox) == {PART: CONTENT}


def test_a_part_that_somebody_else_wrote_to_is_not_published(inbox):
    sink = filled(inbox)
    with (inbox / PART).open("ab") as other:
        other.write(b"!")
    with pytest.raises(LocalFileError, match="was changed by another program"):
        sink.publish()
    assert set(listing(inbox)) == {PART}


def test_an_empty_file_is_published(inbox):
    assert created(inbox, size=0).publish().read_bytes() == b""


@pytest.mark.parametrize("on_exist", ["rename", "overwrite"])
@pytest.mark.parametrize("hard_links", [True, False])
def test_a_file_in_the_place_of_the_part_is_never_published(inbox, tmp_path, monkeypatch, on_exist, hard_links):
    sink = filled(inbox, on_exist=on_exist)
    forged = tmp_path / "forged"
    forged.write_bytes(b"forged content")
    forged.rename(inbox / PART)
    if not hard_links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with pytest.raises(LocalFileError, match="another file took its place"):
        sink.publish()
    assert listing(inbox) == {PART: b"forged content"}


def test_a_link_in_the_place_of_the_part_is_never_published(inbox):
    sink = filled(inbox)
    (inbox / PART).rename(inbox / "moved")
    (inbox / PART).symlink_to("moved")
    with pytest.raises(LocalFileError, match="another file took its place"):
        sink.publish()
    assert set(listing(inbox)) == {PART, "moved"}


def test_a_file_that_appears_under_the_parts_name_after_publishing_is_not_removed(inbox, monkeypatch):
    replace = os.replace

    def replace_and_plant(*args, **options):
        replace(*args, **options)
        (inbox / PART).write_bytes(b"precious")

    monkeypatch.setattr(os, "replace", replace_and_plant)
    filled(inbox, on_exist="overwrite").publish()
    assert listing(inbox) == {"report.pdf": CONTENT, PART: b"precious"}


def test_a_part_that_was_removed_is_not_published(inbox):
    sink = filled(inbox)
    (inbox / PART).unlink()
    with pytest.raises(LocalFileError, match=r"cannot save 'report\.pdf': no such file"):
        sink.publish()
    assert listing(inbox) == {}


# Without hard links


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_hard_links_the_name_is_reserved_and_renamed_over(inbox, monkeypatch, number):
    sink = filled(inbox)
    monkeypatch.setattr(os, "link", failing(number))
    final = sink.publish()
    assert listing(inbox) == {"report.pdf": CONTENT}
    assert stat.S_IMODE(final.stat().st_mode) & 0o111 == 0


def test_without_hard_links_no_file_is_replaced_either(inbox, monkeypatch):
    sink = filled(inbox)
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    (inbox / "report.pdf").write_bytes(b"precious")
    (inbox / "report (2).pdf").symlink_to("nowhere")
    assert sink.publish() == inbox / "report (3).pdf"
    assert (inbox / "report.pdf").read_bytes() == b"precious"
    assert (inbox / "report (3).pdf").read_bytes() == CONTENT


def test_without_hard_links_a_failed_rename_leaves_no_empty_file(inbox, monkeypatch):
    sink = filled(inbox)
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "rename", failing(errno.EACCES))
    with pytest.raises(LocalFileError, match="permission denied; all of it is kept"):
        sink.publish()
    assert listing(inbox) == {PART: CONTENT}


def test_a_reserved_name_that_somebody_took_over_is_left_to_them(inbox, tmp_path, monkeypatch):
    sink = filled(inbox, on_exist="fail")
    opened = os.open

    def replace_placeholder(path, flags, *args, **options):
        descriptor = opened(path, flags, *args, **options)
        if flags & os.O_CREAT:
            precious = tmp_path / "precious"
            precious.write_bytes(b"precious")
            precious.rename(inbox / "report.pdf")
        return descriptor

    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(os, "open", replace_placeholder)
    with pytest.raises(LocalFileError, match="it exists already"):
        sink.publish()
    assert listing(inbox) == {"report.pdf": b"precious", PART: CONTENT}


# Crashes


class Crash(BaseException):
    """The process dies here."""


def crashing(*args, **kwargs):
    raise Crash


@pytest.mark.parametrize("taken", [False, True])
def test_after_a_crash_between_link_and_unlink_publishing_again_finishes(inbox, monkeypatch, taken):
    if taken:
        (inbox / "report.pdf").write_bytes(b"precious")
    final = "report (2).pdf" if taken else "report.pdf"
    sink = filled(inbox)
    monkeypatch.setattr(os, "unlink", crashing)
    with pytest.raises(Crash):
        sink.publish()
    monkeypatch.undo()
    assert listing(inbox)[final] == listing(inbox)[PART] == CONTENT

    assert reopened(inbox, sink.part_inode).publish() == inbox / final
    assert listing(inbox) == {final: CONTENT} | ({"report.pdf": b"precious"} if taken else {})


@pytest.mark.parametrize("noted", [0, len(CONTENT) - 1])
def test_after_such_a_crash_the_file_is_whole_however_little_was_noted_of_it(inbox, monkeypatch, noted):
    sink = filled(inbox)
    monkeypatch.setattr(os, "unlink", crashing)
    with pytest.raises(Crash):
        sink.publish()
    monkeypatch.undo()
    again = Sink.reopen(inbox, "report.pdf", "k3v9", inode=sink.part_inode, length=noted, size=len(CONTENT))
    assert again.position == len(CONTENT)
    assert again.publish() == inbox / "report.pdf"
    assert listing(inbox) == {"report.pdf": CONTENT}


@pytest.mark.parametrize("call", ["fsync", "fchmod", "link"])
def test_a_crash_before_the_link_leaves_only_the_part(inbox, monkeypatch, call):
    sink = filled(inbox)
    monkeypatch.setattr(os, call, crashing)
    with pytest.raises(Crash):
        sink.publish()
    monkeypatch.undo()
    assert listing(inbox) == {PART: CONTENT}
    assert reopened(inbox, sink.part_inode).publish().read_bytes() == CONTENT


def test_a_file_that_was_edited_after_such_a_crash_is_not_cut(inbox, monkeypatch):
    sink = filled(inbox)
    monkeypatch.setattr(os, "unlink", crashing)
    with pytest.raises(Crash):
        sink.publish()
    monkeypatch.undo()
    with (inbox / "report.pdf").open("ab") as edited:
        edited.write(b" and more")
    with pytest.raises(LocalFileError, match="has another name and another size"):
        reopened(inbox, sink.part_inode)
    assert (inbox / "report.pdf").read_bytes() == CONTENT + b" and more"


def in_parallel(inbox: Path, race: str, *, on_exist: str) -> list[str]:
    """Let three processes each fill a sink named x, and run `race` in all of them once all are ready."""
    script = f"""
import sys
from pathlib import Path
from jetcli.errors import LocalFileError
from jetcli.files.sink import Sink
sink = Sink.create(Path(sys.argv[1]), "x", "t" + sys.argv[2], size=100_000, on_exist={on_exist!r})
sink.write(memoryview(sys.argv[2].encode() * 100_000))
print("ready", flush=True)
sys.stdin.readline()
{textwrap.dedent(race)}
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(inbox), str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    names = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    return names
