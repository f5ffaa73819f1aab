"""The file where login keeps an account's password when nothing better does: its first line, mode 0600.

Better are a command, the system's keyring, and SCRAM's keys (see scram.py).
"""

from pathlib import Path

from jetcli.errors import SetupError
from jetcli.state.private import private_directory, refuse_shared, replace_private, unusable


def read_password(path: Path) -> str | None:
    """Return the password that login kept in `path`, or None where there is no such file.

    Raises SetupError where others can read the file, or where it holds no password.
    """
    refuse_shared(path)
    try:
        password = path.read_bytes().split(b"\n", 1)[0].decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from error
    except UnicodeDecodeError:
        raise SetupError(f"'{path}' holds no password", hint="jet login") from None  # the cause would quote it
    if not password:
        raise SetupError(f"'{path}' holds no password", hint="jet login")
    return password


def write_password(path: Path, password: str) -> None:
    """Keep `password`, one line of text, in `path`; the directory is private too. Raises SetupError."""
    if not password or "\n" in password:
        raise ValueError("a password is one line of text")
    private_directory(path.parent)
    replace_private(path, f"{password}\n".encode())
