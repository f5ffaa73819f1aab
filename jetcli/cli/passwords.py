"""Where the password of an account comes from, in the order that the manual promises.

    --password-command, or password_command of the configuration
    --password-file (refused if others can read it; `-` is standard input)
    JET_PASSWORD
    the system's keyring, with the extra jetcli[keyring]
    the file that `jet login` wrote: with SCRAM's keys, which do instead of the password, or with the password
    a question on the terminal

There is no option that takes the password itself, since everybody on the machine could read it.
"""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jetcli.errors import SetupError
from jetcli.protocol.policy import shown
from jetcli.protocol.scram import ScramKeys

#: A password manager may ask its user something first.
COMMAND_LIMIT_S = 120.0

#: Answers with a password, or with the keys that stand in for it, or with None where this source has none.
Source = Callable[[], str | ScramKeys | None]


def first_secret(sources: Iterable[Source]) -> str | ScramKeys | None:
    """Return what the first source has that has a password, or keys."""
    for source in sources:
        secret = source()
        if secret:
            return secret
    return None


def from_command(command: Sequence[str] | None) -> str | None:
    """Return the first line that `command` (an argument list, no shell) prints; raise SetupError where it fails."""
    if not command:
        return None
    try:
        # The command is the user's own, and its arguments are a list: there is no shell to trick.
        done = subprocess.run(  # noqa: S603
            list(command), stdout=subprocess.PIPE, timeout=COMMAND_LIMIT_S, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as problem:
        cause = problem.strerror if isinstance(problem, OSError) else "no usable answer"
        raise SetupError(f"cannot run the password command '{shown(command[0])}': {cause}") from None
    password = done.stdout.partition("\n")[0]
    if done.returncode or not password:
        raise SetupError(f"the password command '{shown(command[0])}' gave no password (exit {done.returncode})")
    return password


def command_words(text: str | None) -> list[str] | None:
    """Return the argument list that `text` of the command line spells, in the shell's quoting."""
    try:
        return shlex.split(text) if text else None
    except ValueError:
        raise SetupError("the password command has an unclosed quote") from None


def from_file(path: Path | None) -> str | None:
    """Return the first line of the file `path`; raise SetupError where it cannot be read, or others can read it."""
    if path is None:
        return None
    try:
        if str(path) == "-":
            return sys.stdin.readline().rstrip("\r\n") or None
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                name = shown(str(path))
                raise SetupError(f"'{name}' can be read by others", hint=f"chmod 600 {shlex.quote(name)}")
            return file.readline().rstrip("\r\n") or None
    except (OSError, UnicodeDecodeError) as problem:
        cause = (problem.strerror or "").lower() if isinstance(problem, OSError) else "not text"
        raise SetupError(f"cannot read '{shown(str(path))}': {cause}") from None
