"""A whole `jet receive` at a terminal: the process believes that a person sits there."""

import json
import os
import pty
import select
import subprocess
import sys

import pytest

PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
from pathlib import Path
from types import SimpleNamespace
from jetcli.protocol.device import Trust
from jetcli.transfer.events import Connected, FileDone, OfferSeen, Progress

class Online:
    async def open(self, *args, **named):
        named["emit"](Connected("romeo@montague.example/jet.1", "montague.example"))
        return self
    async def unless_lost(self, work): return await work
    async def __aenter__(self): return self
    async def __aexit__(self, *error): pass

async def receive_files(online, options, emit, consent, stop):
    peer = "juliet@capulet.example/jet.2"
    answer = await consent(OfferSeen("k3v9", peer, Trust.BLIND, "film.mkv", 2000, None, None, Path("."), 9000))
    assert answer.accept, answer
    emit(Progress("k3v9", "receive", 1000, 2000))
    done = FileDone("k3v9", "receive", answer.name or "film.mkv", Path(answer.name or "film.mkv"), 2000, 0.5, "tag")
    emit(done)
    return [done]

sys.modules["jetcli.transfer.account"] = SimpleNamespace(Online=Online(), Credentials=lambda *values: values)
sys.modules["jetcli.transfer.receive"] = SimpleNamespace(receive_files=receive_files)
from jetcli.cli import run
run()
"""


@pytest.fixture
def at_a_terminal(environment, account, tmp_path):
    """Run jet with a person's terminal for input and messages; answers are typed at each question."""

    def run(arguments, answers):
        person, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=environment, cwd=tmp_path, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal, text=True,
            start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        seen = b""
        waiting = list(answers)
        try:
            while data := _read(person):
                seen += data
                if waiting and seen.endswith(b":  "):
                    os.write(person, waiting.pop(0))
            out, _err = process.communicate(timeout=10)
        finally:
            process.kill()
            os.close(person)
        return process.returncode, out, seen.decode()

    return run


def _read(person):
    if not select.select([person], [], [], 20)[0]:
        pytest.fail("jet says nothing")
    try:
        return os.read(person, 4096)
    except OSError:  # Linux says EIO once the other side has closed
        return b""


def test_a_person_is_asked_and_the_file_takes_the_name_they_give(at_a_terminal, tmp_path):
    code, out, seen = at_a_terminal(["receive"], [b"r\n", b"reel.mkv\n"])
    assert (code, out) == (0, f"{tmp_path}/reel.mkv\n")
    assert "Waiting as romeo@montague.example/jet.1 · Ctrl-C to stop" in seen
    assert "Accept? [y]es  [n]o  [r]ename  [a]lways from juliet@capulet.example:  " in seen
    assert "✓" in seen
    assert seen.count("\x1b[?25l") == seen.count("\x1b[?25h")


def test_ctrl_c_at_the_question_is_130(at_a_terminal):
    code, out, seen = at_a_terminal(["receive", "--json"], [b"\x03"])
    assert code == 130
    assert "Stopped." in seen
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["start", "connected", "prompt", "result"]


def test_no_input_means_no_question_even_at_a_terminal(at_a_terminal):
    code, _out, seen = at_a_terminal(["receive", "--no-input"], [])
    assert code == 2
    assert "nobody is there to be asked" in seen
