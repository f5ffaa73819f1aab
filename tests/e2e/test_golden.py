"""Whole sessions, word by word: what stands on standard output and standard error, and the exit code.

Each page of `golden/` is a session; what differs from run to run stands there as <WORD>. `JET_GOLDEN=write` writes the
pages anew; look at the difference before it is committed.
"""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.matrix

PAGES = Path(__file__).parent / "golden"
#: What is different each time, in the order in which it is looked for.
VARIES = [
    (r"jet\.[0-9a-z]{6}\b", "jet.<RANDOM>"),
    (r"\b[0-9a-f]{8}(?: [0-9a-f]{8}){7}\b", "<FINGERPRINT>"),
    (r"\bdevice [0-9]+|\([0-9]{5,}\)", "<DEVICE>"),
    (r"[0-9.]+ [kMGT]?B/s", "<RATE>"),
    (r"\bin (?:[0-9.]+ s|[0-9:]+)", "in <TIME>"),
    (r"\bjet [0-9]+\.[0-9]+\.[0-9]+", "jet <VERSION>"),
]
#: Lines that only a slow run has: the names of waits over a second, and steps of the progress.
SLOW = re.compile(r" …$|\((?!100)[0-9]+ %\)")


class Session:
    """A page that is being written: the commands, and what they said."""

    def __init__(self, *homes) -> None:
        self._names = {}
        for home in homes:
            name = re.sub(r"^old-|[0-9]*@.*", "", home.jid)
            self._names |= {str(home.files): f"/{name}", str(home.path): f"/{name}/.jet", home.jid: f"{name}@jet.test"}
        self._page = ""

    def add(self, who: str, process) -> None:
        """Write down a command of `who` that has ended."""
        process.finished()
        words = " ".join(str(word) for word in process.args)
        text = f"{who}$ jet {words}\n{process.stdout}"
        text += "".join(f"2> {line}\n" for line in process.stderr.splitlines() if not SLOW.search(line))
        self._page += self._steady(f"{text}exit {process.code}\n\n")

    def compare(self, name: str) -> None:
        """Compare with the golden page of that name."""
        page = PAGES / f"{name}.txt"
        if os.environ.get("JET_GOLDEN") == "write":
            PAGES.mkdir(exist_ok=True)
            page.write_text(self._page, encoding="utf-8")
        assert self._page == page.read_text(encoding="utf-8")

    def _steady(self, text: str) -> str:
        for found, name in sorted(self._names.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(found, name)
        for pattern, word in VARIES:
            text = re.sub(pattern, word, text)
        return text


def test_words_that_are_refused(home, jet):
    romeo = home("romeo")
    session = Session(romeo)
    (romeo.files / "film.mkv").write_bytes(bytes(10))
    for line in [
        "send juliet@capulet.example",
        "send film.mkv",
        "send film.mkv a@b@c",
        "send missing.bin juliet@capulet.example",
        "send /dev/zero juliet@capulet.example",
        "sned film.mkv juliet@capulet.example",
        "send --naem x film.mkv juliet@capulet.example",
        "receive",
        "receive --accept-all --forever -n 2",
        "resume nosuch",
        "-a nobody status",
        "trust",
        "help frob",
    ]:
        session.add("romeo", jet(romeo, *line.split()))
    session.compare("refused")


def test_help_on_what_programs_rely_on(home, jet):
    romeo = home("romeo")
    session = Session(romeo)
    for line in ("help exit-codes", "help json", "help config"):
        session.add("romeo", jet(romeo, *line.split()))
    session.compare("help")


def test_two_files_from_one_to_the_other(new_pair, receiver, jet):
    romeo, juliet = new_pair
    session = Session(romeo, juliet)
    receiving = receiver(juliet)
    romeo.file("notes.txt", 3100)
    romeo.file("film.mkv", 700_000)
    sending = jet(romeo, "send", "notes.txt", "film.mkv", juliet.jid)
    session.add("romeo", sending)
    session.add("juliet", receiving)
    session.compare("two-files")


def test_a_contact_who_is_not_there(new_pair, jet):
    romeo, juliet = new_pair
    romeo.file("notes.txt", 3100)
    session = Session(romeo, juliet)
    for line in (f"send notes.txt {juliet.jid}", f"caps {juliet.jid}", "send notes.txt stranger@jet.test"):
        session.add("romeo", jet(romeo, *line.split()))
    session.compare("not-there")


def test_what_somebody_can_do(new_pair, receiver, jet):
    romeo, juliet = new_pair
    session = Session(romeo, juliet)
    receiving = receiver(juliet, "--forever")
    session.add("romeo", jet(romeo, "caps", juliet.jid))
    receiving.signal(15)
    session.add("juliet", receiving)
    session.compare("caps")
