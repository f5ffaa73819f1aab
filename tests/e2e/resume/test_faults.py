"""Faults of the machine while a file is on its way: what ends, with which code, and that it goes on afterwards.

Beside them: R1 to R3 (kills) in test_kills, more of R4 in test_power, R18 (both at once) in test_meeting, R24 (name
taken) and R32 (keys lost) in test_records, R31 (damaged state) in hostile/test_arguments, R5 to R9 (broken line) and
R30 (signals) in test_interruptions, R20 (journal full) in state/test_store, R33 in test_sizes, R35 in
protocol/test_session, R36 in xmpp/test_inband_channel.
"""

import os
import shutil
import signal
import sqlite3

import pytest

pytestmark = pytest.mark.matrix

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects these faults")


def faulty_calls(calls: str, fault: str) -> tuple[str, ...]:
    """Return the words that run a command whose system calls fail as told: `faulty_calls("link", "error=EACCES")`."""
    quiet = "strace", "-f", "-qqq", "--seccomp-bpf", "-o", "/dev/null"
    return *quiet, "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"


def finishes(jet, receiver, pair, *words) -> None:
    """Whatever broke before, `jet resume` brings the file."""
    romeo, juliet = pair
    serving = receiver(romeo, "--forever")
    resuming = jet(juliet, "resume", *words).finished()
    assert resuming.code == 0, (resuming, serving)
    assert juliet.saved["film.mkv"] == romeo.saved["film.mkv"]
    assert not juliet.parts


def test_r4_what_a_power_cut_takes_away_is_not_counted(new_pair, broken, receiver, jet):
    """Bytes that were not synced are gone after the power cut, and so is the record of them."""
    _, juliet = new_pair
    broken(new_pair, "sender", "receiver")
    [database], [part] = juliet.path.glob("state/**/state.db"), juliet.parts
    with sqlite3.connect(database) as state:
        state.execute("UPDATE transfers SET boot_id = 'another'")
        [[synced, verified]] = state.execute("SELECT synced, verified FROM transfers").fetchall()
    assert synced <= verified <= part.stat().st_size
    with part.open("r+b") as file:
        file.seek(synced)
        file.write(os.urandom(part.stat().st_size - synced))
    finishes(jet, receiver, new_pair)


def test_r10_a_server_that_is_restarted_holds_nothing_up(home, over, receiver, jet, another_server, faulty, half):
    server = another_server()
    street = faulty((server.host, server.port))
    romeo = home("romeo", on=server, address=street.address)
    juliet = home("juliet", on=server, contacts=[romeo], address=street.address)
    connection = over(romeo, juliet, stall_after=half.stall)
    romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json", "--retry", "9")
    sending = jet(romeo, "--json", "send", "film.mkv", juliet.jid, "--retry", "9")
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    server.stop()
    street.refuse = True
    server.start()
    street.target = (server.host, server.port)
    street.refuse = False
    connection.cut()
    connection.move()
    assert (sending.finished(90).code, receiving.finished(60).code) == (0, 0), (sending, receiving)
    assert juliet.saved == romeo.saved


def test_r21_a_limit_on_the_size_of_files_ends_it_and_without_one_it_goes_on(new_pair, receiver, jet, half):
    romeo, juliet = new_pair
    romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, prefix=("sh", "-c", 'ulimit -f 16384; exec "$@"', "sh"))
    sending = jet(romeo, "send", "film.mkv", juliet.jid).finished()
    assert (receiving.finished().code, sending.code) == (13, 10), (receiving, sending)
    assert "film.mkv" not in juliet.saved
    finishes(jet, receiver, new_pair)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare makes the disk that fills up")
def test_r19_a_full_disk_ends_it_and_room_lets_it_go_on(new_pair, small_disk, over, receiver, jet, half):
    romeo, juliet = new_pair
    inside, files = small_disk
    connection = over(romeo, juliet, stall_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json", prefix=inside)
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    ballast = files / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(40_000_000))
    connection.move()
    assert (receiving.finished().code, sending.finished().code) == (13, 10), (receiving, sending)
    [part] = files.glob(".jet-*.part")
    assert "cannot write 'film.mkv': no space left after" in receiving.stderr
    assert "ended the transfer of 'film.mkv' (media error)" in sending.error
    assert not (files / "film.mkv").exists()
    ballast.unlink()
    receiver(romeo, "--forever")
    resuming = jet(juliet, "resume", prefix=inside).finished()
    assert resuming.code == 0, resuming
    assert (files / "film.mkv").read_bytes() == film.read_bytes()
    assert not part.exists()


@needs_strace
def test_r22_a_source_that_cannot_be_read_is_named_and_the_receiver_keeps_what_came(new_pair, receiver, jet, half):
    romeo, juliet = new_pair
    romeo.file("film.mkv", half.size)
    receiving = receiver(juliet)
    unreadable = faulty_calls("preadv,preadv2", "error=EIO:when=40+")
    sending = jet(romeo, "send", "film.mkv", juliet.jid, prefix=unreadable)
    assert sending.finished(80).code == 13, sending
    assert "cannot read 'film.mkv': input/output error" in sending.error
    assert receiving.finished().code == 10, receiving
    assert "film.mkv" not in juliet.saved
    finishes(jet, receiver, new_pair)


@needs_strace
def test_r23_a_directory_that_was_closed_keeps_the_verified_part_and_names_it(new_pair, receiver, jet):
    romeo, juliet = new_pair
    film = romeo.file("film.mkv", 3_000_000)
    receiving = receiver(juliet, prefix=faulty_calls("link,linkat", "error=EACCES"))
    sending = jet(romeo, "send", film, juliet.jid).finished(80)
    assert receiving.finished(80).code == 13, receiving
    [part] = juliet.parts
    assert part.name in receiving.stderr
    assert sending.code == 10, sending
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == {"film.mkv": film.read_bytes()}


def test_r26_a_machine_that_slept_gives_up_when_it_wakes_and_goes_on(new_pair, over, receiver, jet, half):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, network='idle = "2s"', stall_after=half.stall)
    romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "film.mkv", juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    receiving.signal(signal.SIGSTOP)
    assert sending.finished().code == 10, sending
    connection.cut()
    receiving.signal(signal.SIGCONT)
    assert receiving.finished().code == 10, receiving
    connection.move()
    finishes(jet, receiver, new_pair)


@pytest.mark.parametrize("side", ["sender", "receiver"])
def test_r29_after_ctrl_c_it_goes_on(new_pair, over, receiver, jet, half, side):
    romeo, juliet = new_pair
    connection = over(romeo, juliet, network='idle = "2s"', stall_after=half.stall)
    romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "film.mkv", juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    stopped, other = (sending, receiving) if side == "sender" else (receiving, sending)
    stopped.signal(signal.SIGINT)
    assert stopped.finished(5).code == 130, stopped
    assert other.finished().code == 10, other
    connection.move()
    finishes(jet, receiver, new_pair)


@needs_strace
def test_r34_a_crash_between_the_two_names_of_a_file_leaves_one(new_pair, receiver, jet):
    """Killed when the part's name is to be removed: the file has both names, and the record says nothing of either."""
    romeo, juliet = new_pair
    film = romeo.file("film.mkv", 3_000_000)
    receiving = receiver(juliet, prefix=faulty_calls("unlink,unlinkat", "signal=KILL:when=1+"))
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.finished(80)
    [part] = juliet.parts
    assert juliet.saved == {"film.mkv": film.read_bytes(), part.name: film.read_bytes()}
    sending.signal(signal.SIGKILL)
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 0, resuming
    assert juliet.saved == {"film.mkv": film.read_bytes()}


@needs_strace
def test_the_slow_goodbye_is_exit_10_and_resume_learns_that_nothing_is_missing(new_pair, over, receiver, jet):
    """The receiver has published and is gone before the sender hears of it."""
    romeo, juliet = new_pair
    connection = over(romeo, juliet)
    film = romeo.file("film.mkv", 3_000_000)
    receiving = receiver(juliet, prefix=faulty_calls("unlink,unlinkat", "signal=KILL:when=1+"))
    sending = jet(romeo, "send", film, juliet.jid)
    receiving.finished(80)
    assert juliet.saved["film.mkv"] == film.read_bytes()
    assert sending.finished(100).code == 10, sending
    assert "did not confirm" in sending.error
    sent = connection.carried
    assert jet(juliet, "resume").finished().code == 0, "it only removes the part's name"
    receiver(juliet, "--forever")
    resuming = jet(romeo, "resume").finished()
    assert resuming.code == 0, resuming
    assert connection.carried < sent + 1000, "the greeting of a connection at most"
    assert juliet.saved == {"film.mkv": film.read_bytes()}


def test_t22_a_source_that_changes_under_its_old_time_is_never_published(new_pair, over, receiver, jet, half):
    """Half-way one byte is changed and the time put back: the record's last word is the time of the inode itself."""
    romeo, juliet = new_pair
    connection = over(romeo, juliet, stall_after=half.stall)
    film = romeo.file("film.mkv", half.size)
    receiving = receiver(juliet, "--json")
    sending = jet(romeo, "send", "film.mkv", juliet.jid)
    receiving.event("progress", lambda event: event["bytes"] > half.arrived)
    times = film.stat().st_atime_ns, film.stat().st_mtime_ns
    with film.open("r+b") as file:
        file.write(b"another beginning")
    os.utime(film, ns=times)
    connection.move()
    assert sending.finished().code == 13, sending
    assert "'film.mkv' changed while it was sent" in sending.error
    assert receiving.finished().code == 10, receiving
    assert "film.mkv" not in juliet.saved
    receiver(romeo, "--forever")
    resuming = jet(juliet, "resume").finished()
    assert resuming.code == 11, resuming
    assert "film.mkv" not in juliet.saved
