"""`jet login`: what the command line, the configuration and the person say about an account, tried, then written down.

Nothing is written before the server has let us in.
"""

from dataclasses import replace
from pathlib import Path

from jetcli.cli.accounts import config_of, password_for_login, paths_of
from jetcli.cli.addresses import own_address
from jetcli.cli.invocation import Invocation
from jetcli.cli.passwords import command_words
from jetcli.state.accounts import write_account
from jetcli.state.config import Account, Config
from jetcli.state.passwords import remove_password, write_password
from jetcli.state.paths import Paths


def login_command(
    invocation: Invocation,
    *,
    jid: str,
    register: bool,
    password_command: str | None,
    password_file: Path | None,
    server: tuple[str, int] | None,
    direct_tls: bool,
    ca_file: Path | None,
    pin: str | None,
    allow_plain: bool,
) -> int:
    """Use an account (`jet login`); returns the exit code."""
    address = str(own_address(jid))
    report = invocation.begin("login")
    config = config_of(invocation)
    known = known_account(config, address)
    command = command_words(password_command) or ([] if password_file else list(known.password_command))
    account = replace(
        known,
        server=server or known.server,
        direct_tls=direct_tls or known.direct_tls,
        ca_file=ca_file.absolute() if ca_file else known.ca_file,
        pin=pin or known.pin,
        allow_plain=allow_plain or known.allow_plain,
        password_command=tuple(command),
    )
    password = password_for_login(address, command, password_file, invocation, register=register)
    _try_account(invocation, config, account, password, register=register)
    keep(paths_of(invocation), account, password)
    report.view.line(f"{address} is ready. Send a file with:  jet send FILE... JID")
    return 0


def known_account(config: Config, address: str) -> Account:
    """Return what the configuration says of the account `address`, or a new one under a name that is free."""
    for account in config.accounts.values():
        if account.jid == address:
            return account
    local = address.partition("@")[0]
    return Account(address if local in config.accounts else local, address)


def keep(paths: Paths, account: Account, password: str) -> None:
    """Write down an account that works: its password only where no command gives it. Raises SetupError."""
    if account.password_command:
        remove_password(paths.password(account.jid))
    else:
        write_password(paths.password(account.jid), password)
    write_account(paths.config, account, default=True)


def _try_account(invocation: Invocation, config: Config, account: Account, password: str, *, register: bool) -> None:
    from jetcli.cli.running import carry_out

    report = invocation.begin("login")

    async def session() -> None:
        from jetcli.transfer.account import Credentials, login

        directory = paths_of(invocation).account(account.jid)
        credentials = Credentials(account, directory, password, config.trust)
        await login(credentials, register=register, command="jet login", emit=report.emit)

    carry_out(invocation, report, session())
