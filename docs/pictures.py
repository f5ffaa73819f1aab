"""Make the pictures of README.md from a real run: `make pictures`.

A sender and a receiver run on terminals of their own; what these end up showing is drawn by rich. Only the names of a
throwaway directory and of random resources differ from one run to the next.
"""

import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text
from tour import PEOPLE, Person, Running

from jetcli.trial.certificates import Authority
from jetcli.trial.server import Prosody, throwaway_directory

HERE = Path(__file__).resolve().parent
WIDTH = 124
_ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def screen(said: str) -> str:
    """Return what a terminal shows after `said`: lines with their colours, what was drawn over left out."""
    lines, row = [""], 0
    position = 0
    for token in re.finditer(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", said):
        text, escape = token[0], _ESCAPE.fullmatch(token[0])
        if text == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif text == "\r":
            position = 0
            continue
        elif escape is None or escape[2] == "m":
            lines[row] = lines[row] + text if position else text
            position = 1
        elif escape[2] == "A":
            row = max(row - int(escape[1] or 1), 0)
        elif escape[2] == "K":
            lines[row] = ""
        if text == "\n":
            position = 0
    return "\n".join(line for line in lines if line.strip())


def draw(name: str, title: str, running: Running) -> None:
    """Draw what a script has shown, below the line that started it."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, highlight=False)
    console.print(Text(f"$ {running.script.strip()}", style="bold"))
    console.print(Text.from_ansi(screen(running.said)))
    svg = console.export_svg(title=title, unique_id=name.partition(".")[0])
    # A picture must not make its reader's browser call anybody for a font.
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (HERE / name).write_text(f"{svg}\n", encoding="utf-8")


def main() -> None:
    """Let Romeo send Juliet a film, and draw both of their terminals."""
    names = tuple(PEOPLE.values())
    with (
        throwaway_directory("jet-picture-") as place,
        Prosody(place / "prosody", names, authority=Authority.fresh()) as server,
    ):
        romeo, juliet = (Person(name, place, server) for name in PEOPLE)
        server.make_contacts(romeo.jid, juliet.jid)
        for person in (romeo, juliet):
            person.start(f"jet login {person.jid}").finish()
        (romeo.files / "film.mkv").write_bytes(b"\x1aE\xdf\xa3" * 50_000_000)
        (romeo.files / "notes.txt").write_text("Good night, good night!\n" * 130)
        terminal = {"TERM": "xterm-256color", "COLUMNS": str(WIDTH)}
        receiving = juliet.start("jet receive -n 2", terminal)
        receiving.waits.wait(30)
        sending = romeo.start(f"jet send film.mkv notes.txt {juliet.jid}", terminal)
        sending.finish()
        receiving.finish()
    draw("send.svg", "romeo", sending)
    draw("receive.svg", "juliet", receiving)


if __name__ == "__main__":
    sys.exit(main())
