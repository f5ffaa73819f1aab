"""What `jet receive` takes, how much of it, and what happens to it then."""

import os
import shlex
import signal
import sys

import pytest

pytestmark = pytest.mark.matrix


def test_one_consent_takes_all_files_of_one_command(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    files = [romeo.file(f"{number}.txt", b"%d" % number) for number in range(3)]
    sending = jet(romeo, "send", *files, juliet.jid)
    receiving.wait_for("the first of 3 files")
    receiving.wait_for("Accept?")
    receiving.type("y\n")
    assert sending.finished().code == 0, sending
    assert receiving.finished().code == 0, receiving
    assert receiving.stderr.count("Accept?") == 1
    assert juliet.saved == romeo.saved


def test_a_refused_command_is_not_asked_about_again_and_its_reason_reaches_the_sender(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    sending = jet(romeo, "send", romeo.file("a", 1), romeo.file("b", 1), juliet.jid)
    receiving.wait_for("Accept?")
    receiving.type("n not tonight\n")
    assert sending.finished().code == 9, sending
    assert sending.stderr.count("not tonight") == 2, sending
    assert receiving.stderr.count("Accept?") == 1
    assert receiving.code is None


def test_always_takes_the_next_command_without_a_question(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "-n", "2", terminal=True)
    first = jet(romeo, "send", romeo.file("a", 1), juliet.jid)
    receiving.wait_for("Accept?")
    receiving.type("a\n")
    assert first.finished().code == 0, first
    assert jet(romeo, "send", romeo.file("b", 1), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert receiving.stderr.count("Accept?") == 1


def test_a_file_that_vanishes_fails_alone(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, terminal=True)
    files = [romeo.file(name, 10) for name in ("a", "b", "c")]
    sending = jet(romeo, "send", *files, juliet.jid, "--json")
    receiving.wait_for("Accept?")
    files[1].unlink()
    receiving.type("y\n")
    assert sending.finished().code == 14, sending
    assert [event["exit"] for event in sending.events if event["type"] == "error"] == [13]
    # Three small files are one stream, so the receiver had been promised the second one, too.
    assert receiving.finished().code == 14, receiving
    assert sorted(juliet.saved) == ["a", "c"]


@pytest.mark.parametrize(
    ("how", "codes", "names"),
    [
        ("rename", (0, 0), {"a": b"old", "a (2)": b"new"}),
        ("overwrite", (0, 0), {"a": b"new"}),
        ("fail", (9, 13), {"a": b"old"}),
        ("ask", (0, 0), {"a": b"old", "a (2)": b"new"}),
    ],
)
def test_a_name_that_is_taken(pair, receiver, jet, how, codes, names):
    romeo, juliet = pair
    juliet.file("a", b"old")
    receiving = receiver(juliet, "--on-exist", how)
    sending = jet(romeo, "send", romeo.file("a", b"new"), juliet.jid).finished()
    assert receiving.finished().code == codes[1], receiving
    assert sending.code == codes[0], sending
    assert juliet.saved == names


def test_skip_declines_what_is_here_and_waits_on(pair, receiver, jet):
    romeo, juliet = pair
    juliet.file("a", b"old")
    receiving = receiver(juliet, "--on-exist", "skip")
    sending = jet(romeo, "send", romeo.file("a", b"new"), juliet.jid).finished()
    assert (sending.code, receiving.code) == (9, None), sending
    assert "'a' is here already" in sending.error
    assert jet(romeo, "send", romeo.file("b", b"new"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert juliet.saved == {"a": b"old", "b": b"new"}


def test_a_person_chooses_to_overwrite(pair, receiver, jet):
    romeo, juliet = pair
    juliet.file("a", b"old")
    receiving = receiver(juliet, terminal=True)
    sending = jet(romeo, "send", romeo.file("a", b"new"), juliet.jid)
    receiving.wait_for(r"\[o\]verwrite")
    receiving.type("o\n")
    assert (sending.finished().code, receiving.finished().code) == (0, 0), receiving
    assert juliet.saved == {"a": b"new"}


def test_max_size_declines_what_says_so_and_stops_what_does_not(pair, receiver, jet):
    romeo, juliet = pair
    receiving = receiver(juliet, "--max-size", "1M", "--forever")
    told = jet(romeo, "send", romeo.file("a", 2_000_000), juliet.jid).finished()
    untold = jet(romeo, "send", "-", juliet.jid, stdin=bytes(3_000_000)).finished()
    assert (told.code, untold.code) == (9, 9), untold
    assert "larger than --max-size" in told.error
    assert "larger than --max-size" in untold.error
    assert receiving.code is None
    assert juliet.saved == {}


def test_a_command_is_run_for_every_file_without_a_shell(pair, receiver, jet):
    romeo, juliet = pair
    script = "import os, sys; print(sys.argv[1], *(os.environ['JET_' + n] for n in ('PATH', 'NAME', 'FROM', 'SIZE')))"
    receiving = receiver(juliet, "-0", "--exec", f'{sys.executable} -c "{script}" "$HOME;x"')
    assert jet(romeo, "send", romeo.file("a b", b"12345"), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    path = juliet.files / "a b"
    assert receiving.stdout == f"{path}\0"
    assert f"$HOME;x {path} a b {romeo.jid}/jet." in receiving.stderr
    assert receiving.stderr.rstrip().endswith("5")


def test_a_command_learns_the_id_of_the_transfer_and_never_the_password(pair, receiver, jet):
    romeo, juliet = pair
    script = "import os; print('id', os.environ['JET_ID'], *sorted(n for n in os.environ if n.startswith('JET_')))"
    words = ("--json", "--exec", shlex.join((sys.executable, "-c", script)))
    receiving = receiver(juliet, *words, env={"JET_PASSWORD": juliet.password})
    assert jet(romeo, "send", romeo.file("a", 1), juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    [said] = [line.split()[1:] for line in receiving.stderr.splitlines() if line.startswith("id ")]
    assert said[0] == receiving.event("file")["id"]
    assert "JET_ID" in said
    assert "JET_PASSWORD" not in said


def test_a_request_to_end_ends_the_command_that_is_run_for_a_file_too(pair, receiver, jet):
    romeo, juliet = pair
    # Nothing waits for this sleep: it is a command that lasts, and an end to what a fault would leave behind.
    script = "import time; print('runs', flush=True); time.sleep(30); print('left behind')"
    receiving = receiver(juliet, "--exec", shlex.join((sys.executable, "-c", script)))
    sending = jet(romeo, "send", romeo.file("a", 1), juliet.jid)
    assert sending.finished().code == 0, sending
    receiving.wait_for("runs")
    receiving.signal(signal.SIGTERM)
    assert receiving.finished().code == 143, receiving
    assert "left behind" not in receiving.stderr  # which the command writes to, and does not end before it


def test_a_receiver_leaves_when_nothing_comes(pair, receiver):
    waiting = receiver(pair[1], "--idle", "0.3s").finished()
    assert waiting.code == 6, waiting
    assert receiver(pair[1], "--idle", "0.3s", "--forever").finished().code == 0


def test_from_contacts_takes_no_stranger(home, pair, receiver, jet):
    romeo, juliet = pair
    tybalt = home("tybalt")
    receiving = receiver(juliet, "--from", "contacts")
    assert jet(tybalt, "send", tybalt.file("a", 1), receiving.ready()).finished().code == 9
    letter = romeo.file("b", 1)
    os.utime(letter, (1_600_000_000, 1_600_000_000))
    assert jet(romeo, "send", letter, juliet.jid).finished().code == 0
    assert receiving.finished().code == 0, receiving
    assert list(juliet.saved) == ["b"]
    assert (juliet.files / "b").stat().st_mtime == 1_600_000_000
