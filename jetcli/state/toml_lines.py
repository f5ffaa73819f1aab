"""Where something stands in a TOML text: the standard parser tells values but not their lines.

It asks that parser about ever longer beginnings of the text, so it agrees with it about every corner of the syntax.
That is slow and used only on the way to an error message, or to edit a small file.
"""

import io
import tomllib
from collections.abc import Sequence
from typing import NamedTuple


class Statement(NamedTuple):
    """The lines of a statement: `first` and `last` count from 1."""

    first: int
    last: int


def lines_of(text: str) -> list[str]:
    """Return the lines of a TOML text with their ends: only a line feed ends one."""
    return io.StringIO(text).readlines()


def find(text: str, path: Sequence[str]) -> Statement | None:
    """Return the lines of the statement that first defines the key at `path` in a valid TOML text."""
    lines = lines_of(text)
    complete = 0  # how many lines the statements before take
    for last in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("".join(lines[:last]))
        except tomllib.TOMLDecodeError:
            continue
        if _holds(document, path):
            return Statement(complete + 1, last)
        complete = last
    return None


def _holds(value: object, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
