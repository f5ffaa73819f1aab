"""Run the examples of a page as the two people in it, on a throwaway server; see tour.sh.

A block that opens with "sh romeo" runs as Romeo, "sh juliet" as Juliet, each in a directory of their own; with "&"
behind it, it runs beside what follows, and has to end well after the next thing that Romeo sends. Passwords come from
the environment, and a person on a terminal says yes to every question. Every other `sh` block is an error: an example
that nobody ran.
"""

import os
import pty
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jetcli.trial.certificates import Authority
from jetcli.trial.server import Prosody, throwaway_directory

ROOT = Path(__file__).resolve().parent.parent
PEOPLE = {"romeo": "montague.example", "juliet": "capulet.example"}
BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT_S = 120
PLAIN = {"TERM": "dumb", "COLUMNS": "110"}


@dataclass(frozen=True)
class Example:
    """What is typed, by whom, and whether it runs beside what follows."""

    person: str
    script: str
    background: bool


def examples(page: str) -> list[Example]:
    """Return the examples of a page in their order; raise ValueError for one that says not whose it is."""
    found = []
    for told, script in BLOCK.findall(page):
        person, _, rest = told.strip().partition(" ")
        if person not in PEOPLE or rest not in {"", "&"}:
            raise ValueError(f"whose is this example?\n{script}")
        found.append(Example(person, script, rest == "&"))
    return found


class Person:
    """Somebody with an account, a JET_HOME and a directory."""

    def __init__(self, name: str, place: Path, server: Prosody) -> None:
        self.jid = f"{name}@{PEOPLE[name]}"
        self.home, self.files = place / f"{name}-home", place / name
        self.password = secrets.token_urlsafe()
        for directory in (self.home, self.files):
            directory.mkdir(mode=0o700)
        server.add_account(name, self.password, PEOPLE[name])
        (self.home / "config.toml").write_text(
            f'[network]\nloopback = true\n[accounts.{name}]\njid = "{self.jid}"\n'
            f'server = "{server.address}"\nca_file = "{server.ca_file}"\n'
        )
        (self.home / "config.toml").chmod(0o600)

    def start(self, script: str, terminal: Mapping[str, str] = PLAIN) -> "Running":
        """Run a script in a shell on a terminal, where somebody says yes; `terminal` says in the environment which."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        ours = {"JET_HOME": str(self.home), "HOME": str(self.home), "JET_PASSWORD": self.password, **terminal}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return Running(script, self.files, kept | ours | {"PATH": path})


class Running:
    """A script under way; what it says is kept and every question is answered with yes."""

    def __init__(self, script: str, directory: Path, env: dict[str, str]) -> None:
        self.script = script
        self.said = ""
        self.waits = threading.Event()
        self._terminal, other = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script], cwd=directory, env=env, stdin=other, stdout=other, stderr=other
        )
        os.close(other)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        answered = 0
        while True:
            try:
                data = os.read(self._terminal, 4096)
            except OSError:
                data = b""
            if not data:
                self.waits.set()
                return
            self.said += data.decode(errors="replace")
            if "Waiting as" in self.said or '"connected"' in self.said:
                self.waits.set()
            if self.said.count("Accept?") > answered:
                answered += 1
                os.write(self._terminal, b"y\n")

    def finish(self) -> None:
        """Wait for the end; raise where it is not a good one."""
        try:
            code = self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = -9
        self._reader.join(5)
        print(f"$ {self.script.rstrip()}\n{self.said}", flush=True)
        if code:
            raise SystemExit(f"the example ended with {code}:\n{self.script}")


def tour(page: str) -> None:
    """Run every example of `page`; leave with an error at the first that does not work."""
    names = tuple(PEOPLE.values())
    with (
        throwaway_directory("jet-tour-") as place,
        Prosody(place / "prosody", names, authority=Authority.fresh()) as server,
    ):
        people = {name: Person(name, place, server) for name in PEOPLE}
        server.make_contacts(*(person.jid for person in people.values()))
        romeo = people["romeo"].files
        (romeo / "photos").mkdir()
        for name, size in (("film.mkv", 5_000_000), ("big.iso", 3_000_000), ("photos/balcony.jpg", 200_000)):
            (romeo / name).write_bytes(secrets.token_bytes(size))
        for name in ("in", "inbox"):
            (people["juliet"].files / name).mkdir()
        beside: Running | None = None
        for example in examples(page):
            running = people[example.person].start(example.script)
            if example.background:
                beside = running
                running.waits.wait(LIMIT_S)
                continue
            running.finish()
            if beside is not None and example.person == "romeo" and "send" in example.script:
                beside.finish()
                beside = None
        juliet = people["juliet"].files
        for here, there in (("film.mkv", "in/film.mkv"), ("big.iso", "inbox/big.iso"), ("photos", "photos")):
            if (romeo / here).is_file() and (romeo / here).read_bytes() != (juliet / there).read_bytes():
                raise SystemExit(f"{there} did not arrive whole")
            if not (juliet / there).exists():
                raise SystemExit(f"{there} did not arrive")


if __name__ == "__main__":
    tour((ROOT / (sys.argv[1] if len(sys.argv) > 1 else "README.md")).read_text(encoding="utf-8"))
