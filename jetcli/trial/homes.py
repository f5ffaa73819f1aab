"""The two accounts of a trial, and real `jet` processes that run for them.

Owns what a JET_HOME of a trial looks like and how a process in it is started, read and ended. Refuses to know what the
trial shows with them: see `jetcli.trial.run`.
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetcli.errors import JetError

#: How long an ended process has for its goodbye; all of `jet try` has to be gone two seconds after Ctrl-C.
GOODBYE_S = 0.5

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Home:
    """A JET_HOME for `jid`, and the password that its account is registered with."""

    path: Path
    jid: str
    password: str = field(repr=False, default_factory=secrets.token_urlsafe)

    @property
    def name(self) -> str:
        """Return the local part of the JID."""
        return self.jid.partition("@")[0]

    def configure(self, *, listen: int, advertise: str) -> None:
        """Make the directory; peers are told `advertise` (HOST:PORT) and jet listens on `listen`."""
        self.path.mkdir(mode=0o700)
        network = f'[network]\nloopback = true\nlisten = {listen}\nadvertise = "{advertise}"\n'
        self._config.write_text(network)
        self._config.chmod(0o600)

    def forget_taps(self) -> None:
        """Listen anywhere and tell peers where that is, as jet does by default."""
        lines = self._config.read_text().splitlines()
        kept = [line for line in lines if not line.startswith(("listen", "advertise"))]
        self._config.write_text("\n".join([*kept, ""]))

    def shell_line(self, *words: str) -> str:
        """Return a line for the shell that runs jet for this account."""
        return f"JET_HOME={shlex.quote(str(self.path))} {_program()} {' '.join(words)}"

    @property
    def _config(self) -> Path:
        return self.path / "config.toml"


class Process:
    """A `jet --json` that runs for a home; its events come on standard output, line by line."""

    def __init__(self, home: Home, *args: str, secret: str | None = None) -> None:
        # Options that the caller's environment sets for jet would change the trial.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("JET_")}
        password = {"JET_PASSWORD": secret} if secret else {}
        self.events: list[Event] = []
        self._what = f"{home.name}'s jet {next(arg for arg in args if not arg.startswith('-'))}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jetcli", "--json", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # All that counts is said in events; what else there is must not fill a pipe that nobody reads.
            stderr=subprocess.DEVNULL,
            cwd=home.path,
            env=ours | password | {"JET_HOME": str(home.path)},
        )

    def event(self, kind: str) -> Event:
        """Wait for the first event of type `kind`; raise what the process failed of where it does not come."""
        for event in self._read():
            if event["type"] == kind:
                return event
        raise self._failure()

    def finish(self) -> None:
        """Wait for the end; raise what the process failed of."""
        for _ in self._read():
            pass
        if self._process.wait() != 0:
            raise self._failure()

    def end(self) -> None:
        """End the process where it still runs."""
        with self._process:
            self._process.terminate()
            try:
                self._process.wait(GOODBYE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    def first(self, kind: str) -> Event:
        """Return the first event of type `kind` that has come."""
        return next(event for event in self.events if event["type"] == kind)

    def _read(self) -> Iterator[Event]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self.events.append(event)
            yield event

    def _failure(self) -> JetError:
        """Return the failure that the process told, or the one that its exit code stands for."""
        code = self._process.wait()
        told = next((event for event in reversed(self.events) if event["type"] == "error"), {})
        message = told.get("message", f"it ended with {code}")
        kind = next((each for each in JetError.__subclasses__() if each.exit_code == code), JetError)
        return kind(f"{self._what}: {message}", hint=told.get("hint", ""))


@contextmanager
def running(home: Home, *args: str, secret: str | None = None) -> Iterator[Process]:
    """Run `jet` for `home` as long as the block lasts."""
    process = Process(home, *args, secret=secret)
    try:
        yield process
    finally:
        process.end()


def _program() -> str:
    installed = Path(sys.executable).with_name("jet")
    return shlex.quote(str(installed)) if installed.exists() else f"{shlex.quote(sys.executable)} -m jetcli"
