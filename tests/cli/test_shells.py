"""Completion in the real shells: what a person gets who presses the tabulator key."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jetcli.cli.shells import SCRIPTS
from jetcli.protocol.device import Trust
from jetcli.state.store import Store
from jetcli.state.trust import TrustBook

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0


@pytest.fixture
def shell_environment(environment, account, tmp_path):
    """An environment with this jet under its name, an account, aliases, a contact whose key was met, and a transfer."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jetcli "$@"\n')
    (programs / "jet").chmod(0o755)
    with Store.open(account / "state" / "romeo@montague.example") as store:
        TrustBook(store).decide("mercutio@verona.example", bytes(32), Trust.BLIND, now=1.0)
        columns = {name: "" for _, name, *_ in store.rows("PRAGMA table_info(transfers)")}
        typed = {name: kind for _, name, kind, *_ in store.rows("PRAGMA table_info(transfers)")}
        values = [{"TEXT": "", "INTEGER": 0, "REAL": 0.0, "BLOB": b""}[typed[name]] for name in columns]
        row = dict(zip(columns, values, strict=True)) | {"id": "k3v9", "state": "interrupted", "direction": "send"}
        store.change(f"INSERT INTO transfers VALUES ({', '.join('?' * len(row))})", list(row.values()))
    (tmp_path / "film.mkv").touch()
    return environment | {"PATH": f"{programs}:{environment['PATH']}"}


def wants(name):
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


CASES = [
    ("jet rec", "receive"),
    ("jet send --pa", "--path"),
    ("jet send --path rel", "relay"),
    ("jet caps jul", "juliet"),
    ("jet send film.mkv nur", "nurse"),
    ("jet trust merc", "mercutio@verona.example"),
    ("jet resume k", "k3v9"),
    ("jet -a ho", "home"),
    ("jet help exit", "exit-codes"),
    ("jet send fil", "film.mkv"),
]


@wants("bash")
@pytest.mark.parametrize(("line", "completed"), CASES)
def test_bash_completes(shell_environment, tmp_path, line, completed):
    words = line.split()
    script = f"source {ROOT}/completions/jet.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}"
    last = "; echo ${COMPREPLY[@]}" if completed != "film.mkv" else "; echo ${COMPREPLY[@]:-$(compgen -f fil)}"
    done = subprocess.run(
        ["bash", "-c", f"{script}; _jet jet 2>/dev/null{last}"],
        env=shell_environment, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [completed]


@wants("fish")
@pytest.mark.parametrize(("line", "completed"), CASES)
def test_fish_completes(shell_environment, tmp_path, line, completed):
    done = subprocess.run(
        ["fish", "-c", f"source {ROOT}/completions/jet.fish; complete -C '{line}'"],
        env=shell_environment, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == completed


@pytest.fixture
def zsh(shell_environment, tmp_path):
    """A zsh on a terminal; give it a line, and it tells what Tab makes of it."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execvpe("zsh", ["zsh", "-f", "-i"], shell_environment | {"TERM": "dumb", "HOME": str(tmp_path)})

    def until(pattern):
        text, deadline = "", time.monotonic() + WAIT_S
        while not re.search(pattern, text):
            ready = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))[0]
            assert ready, text
            text += os.read(terminal, 4096).decode(errors="replace")
        return re.search(pattern, text)

    def complete(line):
        os.write(terminal, f"{line}\x18".encode())
        return until(r"<<([^>]*)>>")[1]

    setup = (
        f"PROMPT=; fpath=({ROOT}/completions $fpath); autoload -Uz compinit; compinit -u -D; "
        "tell() { zle complete-word; print -r -- \"<<$BUFFER>>\" }; zle -N tell; bindkey '^X' tell; print rea''dy\n"
    )
    os.write(terminal, setup.encode())
    until(r"\nready")
    yield complete
    os.write(terminal, b"\x15exit\n")
    os.close(terminal)
    os.waitpid(process, 0)


@wants("zsh")
@pytest.mark.parametrize(("line", "completed"), CASES)
def test_zsh_completes(zsh, line, completed):
    assert zsh(line).split()[-1] == completed


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_can_be_printed(jet_process, name):
    done = jet_process("completion", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, SCRIPTS[name], "")


def test_a_shell_that_jet_does_not_know(jet_process):
    done = jet_process("completion", "tcsh")
    assert done.returncode == 2
    assert "invalid value for" in done.stderr


def test_without_state_and_configuration_there_is_nothing_to_complete(environment, tmp_path):
    words = {"_JET_COMPLETE": "bash_complete", "COMP_WORDS": "jet trust ", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "jetcli"],
        env=environment | words, cwd=tmp_path, capture_output=True, text=True, timeout=WAIT_S, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert not (tmp_path / "home").exists()
