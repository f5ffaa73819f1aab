"""The configuration file: what it may say, and what it says, as values.

An unknown key, a value of the wrong kind and a password are refused with their line. It reads one file and does not
know what the settings are for; `jetcli.state.accounts` writes the one part that jet writes itself.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from msgspec import Struct, field

from jetcli.errors import SetupError
from jetcli.protocol.jid import parse_jid
from jetcli.state.private import refuse_shared, unusable
from jetcli.state.quantities import parse_duration, parse_endpoint, parse_size
from jetcli.state.toml_lines import find
from jetcli.state.trust import TrustPolicy

PathPolicy = Literal["auto", "direct", "relay", "ibb"]
OnExist = Literal["ask", "rename", "overwrite", "skip", "fail"]

#: Keys that would hold a password. The file is often shown, copied and put under version control.
_SECRET = re.compile(r"pass(word|wd|phrase)?|pw|secret|token", re.IGNORECASE)


class Account(Struct, frozen=True):
    """An account: `jid` is bare, `server` a host and port that replace the look-up, `pin` the hash of its key."""

    name: str
    jid: str
    server: tuple[str, int] | None = None
    direct_tls: bool = False
    ca_file: Path | None = None
    pin: str | None = None
    allow_plain: bool = False
    password_command: tuple[str, ...] = ()


class ReceiveSettings(Struct, frozen=True):
    """Defaults of `jet receive`; None and False where the file says nothing. `max_size` counts bytes."""

    directory: Path | None = None
    on_exist: OnExist | None = None
    max_size: int | None = None
    allow_hidden: bool = False
    keep_partial: bool = False


class NetworkSettings(Struct, frozen=True):
    """How to reach peers; None where the file says nothing. Deadlines are seconds."""

    path: PathPolicy | None = None
    loopback: bool = False
    listen: int | None = None
    advertise: tuple[str, int] | None = None
    acceptance_s: float | None = None
    idle_s: float | None = None


class Config(Struct, frozen=True):
    """The configuration; all defaults where there is no file. `aliases` are short names of JIDs."""

    file: Path
    default: str | None = None
    accounts: Mapping[str, Account] = field(default_factory=dict)
    receive: ReceiveSettings = field(default_factory=ReceiveSettings)
    trust: TrustPolicy = "btbv"
    network: NetworkSettings = field(default_factory=NetworkSettings)
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, *, required: bool = False) -> Self:
        """Read the configuration in `file`; without that file return the defaults, or fail where it is `required`.

        Raises SetupError naming the file and the line.
        """
        try:
            text = file.read_bytes().decode()
        except FileNotFoundError as error:
            if required:
                raise unusable(file, error) from error
            return cls(file)
        except OSError as error:
            raise unusable(file, error) from error
        except UnicodeDecodeError as error:
            raise SetupError(f"'{file}' is not UTF-8 text") from error
        return cls(file, **_Reader(file, text).read())

    def account(self, selector: str | None = None) -> Account:
        """Return the account that `selector` (a name or a bare JID) means; without one the default or the only one.

        Raises SetupError where there is none, or where there are several and none is the default.
        """
        if selector is None:
            selector = self.default or (next(iter(self.accounts)) if len(self.accounts) == 1 else None)
        if selector is None and self.accounts:
            raise SetupError("several accounts and no default", hint=f"--account {' | '.join(sorted(self.accounts))}")
        if selector is None:
            raise SetupError("there is no account", hint="jet login JID")
        for account in self.accounts.values():
            if selector in {account.name, account.jid}:
                return account
        raise SetupError(f"there is no account {selector!r}", hint="jet login JID")

    def address(self, text: str) -> str:
        """Return the JID that the alias `text` stands for, or `text` itself."""
        return self.aliases.get(text, text)


#: Turns a value of the file into ours; ValueError tells why it cannot.
_Take = Callable[[Any], object]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65_536:
        raise ValueError("not a port number")
    return value


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    return parse_size(_text(value))


def _duration(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return parse_duration(_text(value))


def _words(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(word, str) for word in value):
        raise ValueError('not a list of texts such as ["pass", "show", "xmpp"]')
    return tuple(value)


def _endpoint(value: object) -> tuple[str, int]:
    return parse_endpoint(_text(value))


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _address(value: object) -> str:
    return str(parse_jid(_text(value)))


def _bare_address(value: object) -> str:
    jid = parse_jid(_text(value))
    if jid.resource is not None:
        raise ValueError("an account's address has no resource")
    return str(jid)


def _one_of(*choices: str) -> _Take:
    def take(value: object) -> object:
        if value not in choices:
            raise ValueError(f"not one of {', '.join(choices)}")
        return value

    return take


#: What a table may hold: the field of ours that a key fills, and how its value is taken.
_Keys = Mapping[str, tuple[str, _Take]]

_ACCOUNT: _Keys = {
    "jid": ("jid", _bare_address),
    "server": ("server", _endpoint),
    "direct_tls": ("direct_tls", _flag),
    "ca_file": ("ca_file", _path),
    "pin": ("pin", _text),
    "allow_plain": ("allow_plain", _flag),
    "password_command": ("password_command", _words),
}
_RECEIVE: _Keys = {
    "dir": ("directory", _path),
    "on_exist": ("on_exist", _one_of(*get_args(OnExist))),
    "max_size": ("max_size", _size),
    "allow_hidden": ("allow_hidden", _flag),
    "keep_partial": ("keep_partial", _flag),
}
_NETWORK: _Keys = {
    "path": ("path", _one_of(*get_args(PathPolicy))),
    "loopback": ("loopback", _flag),
    "listen": ("listen", _port),
    "advertise": ("advertise", _endpoint),
    "timeout": ("acceptance_s", _duration),
    "idle": ("idle_s", _duration),
}
_TRUST: _Keys = {"policy": ("trust", _one_of(*get_args(TrustPolicy)))}
_TOP_LEVEL = ("default", "accounts", "receive", "trust", "network", "aliases")

_Place = tuple[str, ...]


class _Reader:
    """Reads one file's text; every refusal names the line of the key at fault."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text

    def read(self) -> dict[str, Any]:
        """Return the fields of Config that the text fills."""
        try:
            document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise SetupError(f"'{self._file}' is not valid TOML: {error}") from error
        self._refuse_passwords(document, ())
        self._refuse_unknown(document, _TOP_LEVEL, ())
        accounts = self._table(document, ("accounts",))
        aliases = self._table(document, ("aliases",))
        return {
            "default": self._default(document, accounts),
            "accounts": {name: self._account(accounts, name) for name in accounts},
            "aliases": {name: self._take(("aliases", name), _address, jid) for name, jid in aliases.items()},
            "receive": ReceiveSettings(**self._fields(document, ("receive",), _RECEIVE)),
            "network": NetworkSettings(**self._fields(document, ("network",), _NETWORK)),
            **self._fields(document, ("trust",), _TRUST),
        }

    def _default(self, document: Mapping[str, Any], accounts: Mapping[str, Any]) -> str | None:
        name = document.get("default")
        if name is not None and (not isinstance(name, str) or name not in accounts):
            raise self._refusal(("default",), f"there is no account {name!r}")
        return name

    def _account(self, accounts: Mapping[str, Any], name: str) -> Account:
        values = self._fields(accounts, ("accounts", name), _ACCOUNT)
        if "jid" not in values:
            raise self._refusal(("accounts", name), f"account {name!r} has no jid")
        return Account(name, **values)

    def _fields(self, parent: Mapping[str, Any], place: _Place, keys: _Keys) -> dict[str, Any]:
        table = self._table(parent, place)
        self._refuse_unknown(table, keys, place)
        return {keys[key][0]: self._take((*place, key), keys[key][1], value) for key, value in table.items()}

    def _table(self, parent: Mapping[str, Any], place: _Place) -> Mapping[str, Any]:
        table = parent.get(place[-1], {})
        if not isinstance(table, dict):
            raise self._refusal(place, f"{place[-1]!r} is not a table")
        return table

    def _take(self, place: _Place, take: _Take, value: object) -> object:
        try:
            taken = take(value)
        except ValueError as error:
            raise self._refusal(place, f"{place[-1]}: {error}") from error
        return self._file.absolute().parent / taken if isinstance(taken, Path) else taken

    def _refuse_unknown(self, table: Mapping[str, Any], known: Iterable[str], place: _Place) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                where = f" in [{'.'.join(place)}]" if place else ""
                raise self._refusal((*place, key), f"unknown key {key!r}{where}", hint)

    def _refuse_passwords(self, table: Mapping[str, Any], place: _Place) -> None:
        for key, value in table.items():
            # The names of aliases and accounts are the user's own: only what stands under them is a key.
            if _SECRET.fullmatch(key) and place not in {("aliases",), ("accounts",)}:
                refuse_shared(self._file)
                hint = "take it out and use  jet login  or password_command"
                raise self._refusal((*place, key), "a password has no place in the configuration", hint)
            if isinstance(value, dict):
                self._refuse_passwords(value, (*place, key))

    def _refusal(self, place: _Place, message: str, hint: str = "") -> SetupError:
        statement = find(self._text, place)
        line = f" line {statement.first}" if statement else ""
        return SetupError(f"'{self._file}'{line}: {message}", hint=hint)
