"""Accounts with a JET_HOME of their own, and real `python -m jetcli` processes that run there."""

import codecs
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from jetcli.cli.login import keep
from jetcli.state.config import Account
from jetcli.state.paths import Paths
from jetcli.trial.server import Prosody

WAIT_S = 40.0
T = TypeVar("T")


@dataclass
class Home:
    """A JET_HOME with one account. `files` is an empty directory beside it, where its processes run."""

    path: Path
    files: Path
    jid: str
    password: str
    server: Prosody
    address: str

    def enrol(self) -> None:
        """Write down what `jet login` would, so that a test which is not about logging in need not wait for it."""
        host, _, port = self.address.rpartition(":")
        name = self.jid.partition("@")[0]
        account = Account(name, self.jid, server=(host, int(port)), ca_file=self.server.ca_file)
        keep(Paths(self.path / "config.toml", self.path / "state"), account, self.password)

    @property
    def login(self) -> tuple[str, ...]:
        """The words that log in for the first time."""
        return "login", self.jid, "--server", self.address, "--ca-file", str(self.server.ca_file)

    def network(self, text: str = "") -> None:
        """Set what stands under `[network]`, beside `loopback = true` unless that is said otherwise."""
        config = self.path / "config.toml"
        if not config.exists():
            config.touch(mode=0o600)
        rest = re.sub(r"(?m)^\[network\]\n([^\[\n].*\n)*", "", config.read_text())
        text = text if "loopback" in text else f"loopback = true\n{text}"
        config.write_text(f"{rest.rstrip()}\n\n[network]\n{text.rstrip()}\n".lstrip())

    def file(self, name: str, content: bytes | int) -> Path:
        """Make a file among `files`, of this content or of so many random bytes."""
        path = self.files / name
        path.write_bytes(random.randbytes(content) if isinstance(content, int) else content)
        return path

    @property
    def saved(self) -> dict[str, bytes]:
        """Everything that lies in `files`: names and contents."""
        return {path.name: path.read_bytes() for path in self.files.iterdir()}

    @property
    def parts(self) -> list[Path]:
        """The part files in `files`."""
        return sorted(self.files.glob(".jet-*.part"))


class Jet:
    """A running `jet`; standard output and standard error are collected as they come.

    Use `finished()` to wait for its end, `wait_for(pattern)` for a line on standard error (or output), `event(type)`
    for a line of `--json`.
    """

    def __init__(
        self,
        home: Home,
        args: tuple[str, ...],
        *,
        stdin: bytes | None = None,
        env=(),
        cwd=None,
        terminal: bool = False,
        prefix: tuple[str, ...] = (),
        umask: int = -1,
    ) -> None:
        self.args = args
        self.terminal: int | None = None
        self.stdout = ""
        self.stderr = ""
        self._changed = threading.Condition()
        self._streams_open = 2
        streams = {"stdin": subprocess.DEVNULL if stdin is None else subprocess.PIPE, "stderr": subprocess.PIPE}
        if terminal:
            self.terminal, other_end = pty.openpty()
            streams = {"stdin": other_end, "stderr": other_end}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "jetcli", *args],
            stdout=subprocess.PIPE,
            cwd=cwd or home.files,
            env=_environment(home) | dict(env),
            umask=umask,
            **streams,
        )
        stderr = self.process.stderr
        if self.terminal is not None:
            os.close(other_end)
            stderr = os.fdopen(self.terminal, "rb", buffering=0)
        self._readers = [
            threading.Thread(target=self._collect, args=("stdout", self.process.stdout), daemon=True),
            threading.Thread(target=self._collect, args=("stderr", stderr), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        if stdin is not None:
            self._readers.append(threading.Thread(target=self._feed, args=(stdin,), daemon=True))
            self._readers[-1].start()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs; negative where a signal ended it."""
        return self.process.poll()

    @property
    def events(self) -> list[dict]:
        """The events of `--json` so far; they give way where standard output is for a file's bytes."""
        receives = {"receive", "request"} & set(self.args)
        to_stdout = receives and {"--stdout", "--unverified-stdout", "-"} & set(self.args)
        return [json.loads(line) for line in self._lines("stderr" if to_stdout else "stdout") if line.startswith("{")]

    def ready(self) -> str:
        """Wait until a receiver can be seen; return its full JID."""
        if "--json" in self.args:
            return str(self.event("connected")["jid"])
        return self.wait_for(r"Waiting as (\S+)").group(1)

    @property
    def error(self) -> str:
        """The line of the error, without its prefix."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("jet: error: ")]
        assert len(lines) == 1, self
        return lines[0].removeprefix("jet: error: ")

    @property
    def hint(self) -> str:
        """The line of the hint, without its prefix."""
        return "\n".join(line.removeprefix("jet: hint: ") for line in self.stderr.splitlines() if "jet: hint: " in line)

    def type(self, text: str) -> None:
        """Type on the terminal that the process was started with."""
        assert self.terminal is not None
        os.write(self.terminal, text.encode())

    def finished(self, timeout_s: float = WAIT_S) -> "Jet":
        """Wait for the end and return self; fail with what it said where it does not come."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"jet did not end in {timeout_s:.0f} s\n{self}")
        for reader in self._readers:
            reader.join()
        return self

    def wait_for(self, pattern: str, stream: str = "stderr", timeout_s: float = WAIT_S) -> re.Match[str]:
        """Wait until a line of `stream` matches."""
        found = self._until(lambda: re.search(pattern, getattr(self, stream)), timeout_s)
        return found or pytest.fail(f"jet never said {pattern!r}\n{self}")

    def event(
        self, kind: str, which: Callable[[dict], bool] = lambda _event: True, timeout_s: float = WAIT_S, **fields
    ) -> dict:
        """Wait until `--json` prints an event of this type with these fields, of which `which` is true."""

        def first() -> dict | None:
            wanted = {"type": kind} | fields
            return next((event for event in self.events if wanted.items() <= event.items() and which(event)), None)

        return self._until(first, timeout_s) or pytest.fail(f"jet never printed {kind} {fields}\n{self}")

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)

    def end(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for reader in self._readers:
            reader.join()

    def __repr__(self) -> str:
        return (
            f"jet {' '.join(self.args)}\nexit code {self.code}\n--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )

    def _until(self, condition: Callable[[], T], timeout_s: float) -> T:
        with self._changed:
            self._changed.wait_for(lambda: condition() or not self._streams_open, timeout_s)
            return condition()

    def _lines(self, stream: str) -> list[str]:
        """Whole lines only: the last one may still be on its way."""
        return getattr(self, stream).rpartition("\n")[0].splitlines()

    def _collect(self, name: str, pipe) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # A terminal ends with EIO when its last process has gone.
        with pipe, suppress(OSError):
            while data := os.read(pipe.fileno(), 65_536):
                with self._changed:
                    setattr(self, name, getattr(self, name) + decoder.decode(data))
                    self._changed.notify_all()
        with self._changed:
            self._streams_open -= 1
            self._changed.notify_all()

    def _feed(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            with self.process.stdin as pipe:
                pipe.write(data)
        except BrokenPipeError:
            pass


#: A break ends what runs, unless a test is about going on: such a test says --retry.
_NO_RETRY = {f"JET_{command}_RETRY": "0" for command in ("SEND", "RECEIVE", "RESUME")}


def _environment(home: Home) -> dict[str, str]:
    """Nothing of the caller's own configuration, and no terminal."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home.path), "JET_HOME": str(home.path), "TERM": "dumb", **_NO_RETRY}
