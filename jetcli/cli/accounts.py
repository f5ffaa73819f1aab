"""Which account a command uses, and what opens it: the configuration, the command line and the environment together."""

import sys
from pathlib import Path

from jetcli.cli import keychain, passwords
from jetcli.cli.invocation import Invocation
from jetcli.errors import SetupError
from jetcli.protocol.scram import ScramKeys
from jetcli.state.config import Account, Config
from jetcli.state.passwords import read_password
from jetcli.state.paths import Paths
from jetcli.state.scram import read_keys


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


def secret_of(account: Account, invocation: Invocation) -> str | ScramKeys:
    """Return the password or the kept keys of `account` for going online. Raises SetupError where no source has any."""
    from jetcli.cli.prompt import ask_password

    paths = paths_of(invocation)
    secret = passwords.first_secret(
        (
            lambda: passwords.from_command(account.password_command),
            lambda: invocation.password,
            lambda: keychain.load(account.jid),
            lambda: read_password(paths.password(account.jid)),
            lambda: read_keys(paths.scram_keys(account.jid)),
            lambda: ask_password(account.jid) if interactive(invocation) else None,
        )
    )
    if secret is None:
        raise SetupError(f"there is no password for {account.jid}", hint=f"jet login {account.jid}")
    return secret


def secret_for_login(
    jid: str, command: list[str] | None, file: Path | None, invocation: Invocation, *, register: bool
) -> str | ScramKeys:
    """Return what `jet login` shall use; what it kept before only where nobody can be asked for a newer password."""
    from jetcli.cli.prompt import ask_password

    paths = paths_of(invocation)
    may_ask = interactive(invocation)
    secret = passwords.first_secret(
        (
            lambda: passwords.from_command(command),
            lambda: passwords.from_file(file),
            lambda: invocation.password,
            lambda: ask_password(jid, twice=register) if may_ask else None,
            lambda: None if may_ask else keychain.load(jid),
            lambda: None if may_ask else read_password(paths.password(jid)),
            lambda: None if may_ask or register else read_keys(paths.scram_keys(jid)),
        )
    )
    if secret is None:
        raise SetupError(f"there is no password for {jid}", hint="--password-file, --password-command or JET_PASSWORD")
    return secret
