import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from waiting import process_exists

from jetcli.errors import IntegrityError, JetError, SetupError
from jetcli.trial import run
from jetcli.trial import server as server_module
from jetcli.trial.homes import Home, running
from jetcli.trial.search import Windows
from jetcli.trial.server import throwaway_directory


def command(*args):
    return shlex.join([sys.executable, "-m", "jetcli", "try", *args])


@pytest.fixture
def small(tmp_path):
    """A file that is quickly sent."""
    file = tmp_path / "small.bin"
    file.write_bytes(random.Random(4).randbytes(300_000))
    return file


@pytest.mark.e2e
def test_a_trial_tells_in_five_lines_that_the_file_arrived_and_was_read_by_nobody(small):
    lines = []
    assert run.run_trial(small, shell=False, line=lines.append) == 0
    assert [line.split()[0] for line in lines] == ["server", "file", "arrived", "server", "wire"]
    assert re.search(r"300 kB from romeo to juliet in [\d.]+ s .* over a direct connection", lines[1])
    assert "none of 1,000 pieces" in lines[3]
    assert "none of 1,000 pieces" in lines[4]


@pytest.mark.e2e
def test_a_trial_whose_line_is_cut_goes_on_by_itself_and_says_from_where(tmp_path):
    film = tmp_path / "film.bin"
    film.write_bytes(random.Random(5).randbytes(30_000_000))
    lines = []
    assert run.run_trial(film, shell=False, line=lines.append, cut=40) == 0
    assert [line.split()[0] for line in lines] == ["server", "cut", "file", "arrived", "server", "wire"]
    assert "at 40 %; went on by itself with a fresh key from" in lines[1]
    assert re.search(r"of 30 MB, after \d+ (try|tries)$", lines[1])


@pytest.fixture
def shell():
    """Run a line as a shell does; whatever still runs at the end of the test is ended."""
    with ExitStack() as running_ones:

        def start(line, **kwargs):
            process = running_ones.enter_context(subprocess.Popen(["sh", "-c", f"exec env {line}"], **kwargs))
            running_ones.callback(process.kill)
            return process

        yield start


@pytest.mark.e2e
def test_a_shell_of_a_trial_names_two_lines_that_work_and_leaves_nothing_behind(small, tmp_path, shell):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    trial = shell(command("--shell", str(small)), stderr=subprocess.PIPE, text=True)
    told = [trial.stderr.readline().strip() for _ in range(8)]
    receive, send = told[6:]
    receiver = shell(f"{receive} --accept-all -d {inbox}", stdout=subprocess.PIPE, text=True)
    sender = shell(send.replace("FILE", f"--wait 30s {small}"))
    assert sender.wait(60) == 0
    assert Path(receiver.stdout.readline().strip()).read_bytes() == small.read_bytes()
    trial.send_signal(signal.SIGINT)
    assert trial.wait(10) == 130
    directory = Path(re.search(r"JET_HOME=(\S+)/juliet", receive)[1])
    assert directory.is_absolute()
    assert not directory.exists()


@pytest.mark.e2e
def test_an_interrupted_trial_leaves_no_server_behind(shell):
    trial = shell(command(), stderr=subprocess.PIPE, text=True)
    port = int(re.search(r"127\.0\.0\.1:(\d+)", trial.stderr.readline())[1])
    trial.send_signal(signal.SIGTERM)
    assert trial.wait(10) == 143
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.e2e
def test_an_interrupted_trial_leaves_nothing_behind_even_where_its_server_does_not_answer(small, shell):
    trial = shell(command("--shell", str(small)), stderr=subprocess.PIPE, text=True)
    told = [trial.stderr.readline().strip() for _ in range(8)]
    listed = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], stdout=subprocess.PIPE, text=True, check=True).stdout
    (server,) = (int(pid) for ppid, pid in map(str.split, listed.splitlines()) if int(ppid) == trial.pid)
    os.kill(server, signal.SIGSTOP)  # SIGTERM has no effect on it now
    try:
        trial.send_signal(signal.SIGINT)
        assert trial.wait(10) == 130
        assert not process_exists(server)
    finally:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGCONT)
    assert not Path(re.search(r"JET_HOME=(\S+)/juliet", told[6])[1]).exists()


@pytest.fixture
def stage(tmp_path, server):
    """A stage on which nothing has happened yet."""
    wire = tmp_path / "wire"
    wire.mkdir()
    romeo = Home(tmp_path / "romeo", "romeo@jet.test")
    juliet = Home(tmp_path / "juliet", "juliet@jet.test")
    return run.Stage(tmp_path, server, romeo, juliet, wire)


def test_a_readable_byte_stream_fails_the_trial(stage, small):
    (stage.wire / "1-out").write_bytes(b"SOCKS" + small.read_bytes())
    with pytest.raises(IntegrityError, match="1000 pieces of the file are readable in the bytes on the wire"):
        run._search_wire(Windows.of(small, random.Random(1)), stage, small.stat().st_size)


def test_bytes_that_went_another_way_than_through_the_tap_fail_the_trial(stage, small):
    (stage.wire / "1-out").write_bytes(b"too few")
    with pytest.raises(JetError, match="only 7 B of the file's 300 kB passed the tap"):
        run._search_wire(Windows.of(small, random.Random(1)), stage, small.stat().st_size)


def test_a_file_too_short_to_be_looked_for_says_so(stage):
    assert "shorter than the 24 bytes" in run._search_wire(Windows(()), stage, 0)


def test_a_file_that_arrived_changed_fails_the_trial(tmp_path, small):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "small.bin").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="arrived changed"):
        run._compare(small, inbox)


def test_a_file_that_did_not_arrive_fails_the_trial(tmp_path, small):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    with pytest.raises(IntegrityError, match="0 files arrived"):
        run._compare(small, inbox)


def test_without_prosody_the_command_exits_3_and_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(server_module.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(SetupError) as caught:
        run.run_trial(None, shell=False, line=print)
    assert caught.value.exit_code == 3
    assert "install prosody" in caught.value.hint


def test_a_process_that_fails_hands_its_failure_on():
    with throwaway_directory("jet-test-") as directory:
        home = Home(directory / "home", "romeo@jet.test")
        home.configure(listen=40_000, advertise="127.0.0.1:40001")
        missing = str(directory / "missing")
        with running(home, "send", missing, "juliet@jet.test") as process, pytest.raises(JetError) as caught:
            process.finish()
    assert caught.value.exit_code == 13
    assert caught.value.message.startswith("romeo's jet send: cannot read ")
