"""Writing an account into the configuration file, which otherwise belongs to the user.

What the user wrote stays as it is, comments included: one block of lines is replaced or added. The result is parsed
again and must say what was meant, or nothing is written.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetcli.errors import SetupError
from jetcli.state.config import Account, Config
from jetcli.state.private import replace_private
from jetcli.state.toml_lines import find, lines_of

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def write_account(file: Path, account: Account, *, default: bool = False) -> None:
    """Add `account` to the configuration in `file`, or replace the one of that name; make the file where it is missing.

    It becomes the default if it is the first account, or if `default` is true. The file is replaced whole, mode 0600.
    Raises SetupError where the file cannot be read or written, or is laid out so that jet cannot change it.
    """
    config = Config.load(file)
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    wanted = tomllib.loads(text)
    wanted.setdefault("accounts", {})[account.name] = _table(account)
    text = _with_block(text, account)
    if default or not config.accounts:
        wanted["default"] = account.name
        text = _with_default(text, account.name)
    _write_checked(file, text, wanted)


def remove_account(file: Path, name: str) -> None:
    """Take the account `name` out of the configuration in `file`; it is no longer the default either.

    Raises SetupError as `write_account` does.
    """
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    wanted = tomllib.loads(text)
    if name not in wanted.get("accounts", {}):
        return
    del wanted["accounts"][name]
    first, last = _block_lines(text, name)
    lines = lines_of(text)
    text = "".join([*lines[:first], *lines[last:]])
    if not wanted["accounts"] and "accounts" not in tomllib.loads(text):
        del wanted["accounts"]
    if wanted.get("default") == name:
        del wanted["default"]
        text = _without_statement(text, "default")
    _write_checked(file, text, wanted)


def _write_checked(file: Path, text: str, wanted: Mapping[str, Any]) -> None:
    try:
        done = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise SetupError(f"cannot change the accounts in '{file}' as it is laid out", hint=f"edit '{file}' by hand")
    replace_private(file, text.encode())


def _table(account: Account) -> dict[str, Any]:
    """Return what the file says about `account`: defaults are left out."""
    table: dict[str, Any] = {"jid": account.jid}
    if account.server:
        host, port = account.server
        table["server"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if account.direct_tls:
        table["direct_tls"] = True
    if account.ca_file:
        table["ca_file"] = str(account.ca_file.absolute())
    if account.pin:
        table["pin"] = account.pin
    if account.allow_plain:
        table["allow_plain"] = True
    if account.password_command:
        table["password_command"] = list(account.password_command)
    return table


def _with_block(text: str, account: Account) -> str:
    """Return `text` with the account's table at the end of the file, or where it has been."""
    block = [f"[accounts.{_key(account.name)}]\n", *(f"{key} = {_value(v)}\n" for key, v in _table(account).items())]
    lines = lines_of(text)
    first, last = _block_lines(text, account.name)
    if first == len(lines) and lines:
        lines[-1] = lines[-1].rstrip("\n") + "\n"
        block.insert(0, "\n")
    return "".join([*lines[:first], *block, *lines[last:]])


def _block_lines(text: str, name: str) -> tuple[int, int]:
    """Return where the account's table begins and ends, as a slice of lines; empty at the end where there is none."""
    lines = lines_of(text)
    statement = find(text, ("accounts", name))
    if statement is None:
        return len(lines), len(lines)
    end = statement.last
    while end < len(lines) and not lines[end].lstrip().startswith("["):
        end += 1
    while end > statement.last and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # what stands before the next table belongs to that
    return statement.first - 1, end


def _with_default(text: str, name: str) -> str:
    return f"default = {_value(name)}\n" + _without_statement(text, "default")


def _without_statement(text: str, key: str) -> str:
    statement = find(text, (key,))
    if statement is None:
        return text
    lines = lines_of(text)
    return "".join([*lines[: statement.first - 1], *lines[statement.last :]])


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _value(name)


def _value(value: object) -> str:
    """Return `value` as TOML: JSON's texts, lists and booleans are TOML's too, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
