"""Writes what is generated from the program itself: the manual pages, the completion scripts, the session diagram.

    python -m jetcli.cli.manual [DIRECTORY]

A test compares the files in the repository with what this module writes. Wording comes from the commands' own help and
from the docstrings of the errors, so that it is written once.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import click

from jetcli import __version__, errors
from jetcli.cli.grammar import JetCommand, JetGroup, is_global
from jetcli.cli.main import jet
from jetcli.cli.shells import SCRIPTS
from jetcli.cli.signals import CODES, SIGPIPE_CODE
from jetcli.protocol.table import PATH_TABLE, SESSION_TABLE, State, Turn
from jetcli.protocol.table import Path as TransportPath

BEGIN = "<!-- session diagram: written by python -m jetcli.cli.manual -->"
END = "<!-- end of the session diagram -->"

ENVIRONMENT = {
    "JET_HOME": "A directory that holds both the configuration and the state.",
    "JET_PASSWORD": "The password of the account; taken out of the environment at the start.",
    "JET_<COMMAND>_<OPTION>": "The default of an option, such as JET_SEND_PATH; JET_<OPTION> for a global one.",
    "NO_COLOR, TERM": "No colour where NO_COLOR is set or TERM is dumb.",
}
FILES = {
    "$XDG_CONFIG_HOME/jet/config.toml": "The configuration: accounts, aliases, defaults.",
    "$XDG_DATA_HOME/jet/<address>/": "The state of an account: keys, transfers, and what login kept to open it.",
}

_Side = TypeVar("_Side", State, TransportPath)


def documents() -> dict[str, str]:
    """Return every generated file that stands alone, by its path in the repository."""
    pages = {f"man/jet-{name}.1": command_page(name, command) for name, command in jet.commands.items()}
    scripts = {"completions/jet.bash": "bash", "completions/_jet": "zsh", "completions/jet.fish": "fish"}
    return {"man/jet.1": manual_page(jet), **pages} | {path: SCRIPTS[shell] for path, shell in scripts.items()}


def manual_page(group: JetGroup) -> str:
    """Return jet(1) in man's own language."""
    lines = [
        *_title("jet", "send files between two XMPP addresses, end-to-end encrypted"),
        ".SH SYNOPSIS",
        *_usages(group),
        ".SH EXAMPLES",
        *_literal(group.examples),
        ".SH COMMANDS",
        *_terms({f"jet-{name}(1)": _first_sentence(command) for name, command in group.commands.items()}),
    ]
    lines += [".SH GLOBAL OPTIONS", "They may stand before or after the command.", *_options(group, of_all=True)]
    lines += [".SH EXIT STATUS", *_terms({str(code): text for code, text in exit_codes().items()})]
    lines += [".SH ENVIRONMENT", *_terms(ENVIRONMENT), ".SH FILES", *_terms(FILES)]
    return "\n".join(lines) + "\n"


def command_page(name: str, command: click.Command) -> str:
    """Return jet-NAME(1) in man's own language."""
    first, _, _ = _first_sentence(command).rpartition(".")
    arguments = " ".join(_argument(param) for param in command.params if isinstance(param, click.Argument))
    lines = [
        *_title(f"jet-{name}", first[:1].lower() + first[1:]),
        ".SH SYNOPSIS",
        f".B jet {_text(name)}",
        _text(f"[OPTION]... {arguments}".rstrip()),
        ".SH DESCRIPTION",
    ]
    for paragraph in (command.help or "").split("\n\n"):
        lines += [".PP", _text(" ".join(paragraph.split()))]
    if isinstance(command, JetCommand) and command.examples:
        lines += [".SH EXAMPLES", *_literal(command.examples)]
    lines += [".SH OPTIONS", *_options(command, of_all=False), ".PP"]
    lines += ["Global options, exit codes and files are in", ".BR jet (1)."]
    return "\n".join(lines) + "\n"


def _title(name: str, what: str) -> Iterator[str]:
    yield '.\\" Written by python -m jetcli.cli.manual from the commands themselves.'
    yield f'.TH {name.upper()} 1 "" "jet {__version__}" "User Commands"'
    yield from (".SH NAME", f"{_text(name)} \\- {_text(what)}")


def _first_sentence(command: click.Command) -> str:
    paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") + "."


def exit_codes() -> dict[int, str]:
    """Return every exit code with what it means."""
    known = {0: "Everything is complete and verified."}
    classes: list[type[errors.JetError]] = [errors.JetError, *errors.JetError.__subclasses__()]
    for error in sorted(classes, key=lambda error: error.exit_code):
        meaning = (inspect.getdoc(error) or "").partition("\n")[0]
        known[error.exit_code] = f"{error.code}: {meaning}"
    known[errors.JetError.exit_code] = "error: A bug in jet, or a cause that nobody foresaw."
    for number, code in CODES.items():
        known.setdefault(code, f"Ended by {number.name} or a signal like it, in good order.")
    known[SIGPIPE_CODE] = "Nobody reads standard output any more."
    return dict(sorted(known.items()))


def session_diagram() -> str:
    """Return the two tables of `jetcli.protocol.table` as one Mermaid drawing."""
    return "\n".join(
        [
            "```mermaid",
            "stateDiagram-v2",
            *_drawing("Session", SESSION_TABLE, State.IDLE, State.ENDED),
            *_drawing("Transport", PATH_TABLE, TransportPath.GATHERING, TransportPath.FAILED),
            "```",
        ]
    )


def with_diagram(page: str) -> str:
    """Return the page of ARCHITECTURE.md with the diagram between its markers brought up to date."""
    before, begin, rest = page.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the diagram")
    return f"{before}{BEGIN}\n{session_diagram()}\n{END}{after}"


def write(directory: Path) -> None:
    """Write all of it below `directory`, the root of the repository."""
    (directory / "man").mkdir(exist_ok=True)
    (directory / "completions").mkdir(exist_ok=True)
    for name, text in documents().items():
        (directory / name).write_text(text, encoding="utf-8")
    architecture = directory / "ARCHITECTURE.md"
    architecture.write_text(with_diagram(architecture.read_text(encoding="utf-8")), encoding="utf-8")


def _drawing(title: str, table: Mapping[tuple[_Side, Turn], _Side], start: _Side, end: _Side) -> Iterator[str]:
    merged: dict[tuple[str, str], list[str]] = {}
    for (state, turn), following in table.items():
        merged.setdefault((state.value, following.value), []).append(turn.value)
    yield f"    state {title} {{"
    yield f"        [*] --> {start.value}"
    for (before, after), turns in merged.items():
        yield f"        {before} --> {after}: {', '.join(turns)}"
    yield f"        {end.value} --> [*]"
    yield "    }"


def _usages(group: click.Group) -> Iterator[str]:
    for name, command in group.commands.items():
        words = " ".join(_argument(param) for param in command.params if isinstance(param, click.Argument))
        yield from (f".B jet {name}", _text(f"[OPTION]... {words}".rstrip()), ".br")


def _options(command: click.Command, *, of_all: bool) -> Iterator[str]:
    for param in command.params:
        if isinstance(param, click.Option) and (of_all or not is_global(param)):
            value = "" if param.is_flag or param.count else f" {_argument(param)}"
            yield from _terms({f"{', '.join(param.opts)}{value}": param.help or ""})


def _argument(param: click.Parameter) -> str:
    if param.metavar:
        return param.metavar
    return "|".join(str(choice) for choice in param.type.choices) if isinstance(param.type, click.Choice) else "VALUE"


def _terms(terms: Mapping[str, str]) -> Iterator[str]:
    for term, text in terms.items():
        yield from (".TP", f".B {_text(term)}", _text(text))


def _literal(lines: tuple[str, ...]) -> list[str]:
    return [".PP", ".nf", ".RS", *map(_text, lines), ".RE", ".fi"]


def _text(text: str) -> str:
    """Escape what man would obey."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
