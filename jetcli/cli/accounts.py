"""Which account a command uses, and its password: the configuration, the command line and the environment together."""

import sys
from pathlib import Path

from jetcli.cli import keychain, passwords
from jetcli.cli.invocation import Invocation
from jetcli.errors import SetupError
from jetcli.state.config import Account, Config
from jetcli.state.passwords import read_password
from jetcli.state.paths import Paths


def paths_of(invocation: Invocation) -> Paths:
    """Return where this run keeps its things; `--config` moves the configuration alone."""
    paths = Paths.from_environment()
    return Paths(invocation.config, paths.state) if invocation.config is not None else paths


def config_of(invocation: Invocation) -> Config:
    """Read the configuration; one that was named must be there. Raises SetupError."""
    return Config.load(paths_of(invocation).config, required=invocation.config is not None)


def interactive(invocation: Invocation) -> bool:
    """Return whether there is a person to ask."""
    return not invocation.no_input and sys.stdin.isatty() and sys.stderr.isatty()


def password_of(account: Account, invocation: Invocation) -> str:
    """Return the password of `account` for going online. Raises SetupError where no source has it."""
    from jetcli.cli.prompt import ask_password

    kept = paths_of(invocation).password(account.jid)
    password = passwords.first_password(
        (
            lambda: passwords.from_command(account.password_command),
            lambda: invocation.password,
            lambda: keychain.load(account.jid),
            lambda: read_password(kept),
            lambda: ask_password(account.jid) if interactive(invocation) else None,
        )
    )
    if password is None:
        raise SetupError(f"there is no password for {account.jid}", hint=f"jet login {account.jid}")
    return password


def password_for_login(
    jid: str, command: list[str] | None, file: Path | None, invocation: Invocation, *, register: bool
) -> str:
    """Return the password that `jet login` shall use; a kept one only where nobody can be asked for a newer one."""
    from jetcli.cli.prompt import ask_password

    kept = paths_of(invocation).password(jid)
    may_ask = interactive(invocation)
    password = passwords.first_password(
        (
            lambda: passwords.from_command(command),
            lambda: passwords.from_file(file),
            lambda: invocation.password,
            lambda: ask_password(jid, twice=register) if may_ask else keychain.load(jid) or read_password(kept),
        )
    )
    if password is None:
        raise SetupError(f"there is no password for {jid}", hint="--password-file, --password-command or JET_PASSWORD")
    return password
