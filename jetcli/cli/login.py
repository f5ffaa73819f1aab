"""`jet login`: what the command line, the configuration and the person say about an account, tried, then written down.

Nothing is written before the server has let us in.
"""

from dataclasses import replace
from pathlib import Path

from jetcli.cli import keychain
from jetcli.cli.accounts import config_of, password_for_login, paths_of
from jetcli.cli.addresses import own_address
from jetcli.cli.invocation import Invocation
from jetcli.cli.passwords import command_words
from jetcli.errors import UsageError
from jetcli.protocol.invite import Invite, parse_invite
from jetcli.protocol.policy import shown
from jetcli.state.accounts import write_account
from jetcli.state.config import Account, Config
from jetcli.state.passwords import remove_password, write_password
from jetcli.state.paths import Paths


def login_command(
    invocation: Invocation,
    *,
    jid: str | None,
    register: bool,
    import_invite: str | None,
    password_command: str | None,
    password_file: Path | None,
    server: tuple[str, int] | None,
    direct_tls: bool,
    ca_file: Path | None,
    pin: str | None,
    allow_plain: bool,
) -> int:
    """Use an account (`jet login`); returns the exit code."""
    invite = _invite(import_invite)
    register = register or (invite is not None and invite.action == "register")
    address = str(own_address(_invited_address(jid, invite)))
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
    _try_account(invocation, config, account, password, register=register, invite=invite)
    keep(paths_of(invocation), account, password)
    report.view.line(f"{address} is ready. Send a file with:  jet send FILE... JID")
    return 0


def _invite(text: str | None) -> Invite | None:
    if text is None:
        return None
    try:
        return parse_invite(text)
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def _invited_address(jid: str | None, invite: Invite | None) -> str:
    """Return the address of the account that is meant; an invitation may name it. Raises UsageError."""
    if jid is None:
        if invite is None or invite.action != "register" or invite.local is None:
            raise UsageError("missing JID", hint="jet login JID")
        return invite.jid
    if invite is not None and invite.action == "register" and invite.jid not in {jid, jid.rpartition("@")[2]}:
        raise UsageError(f"the invitation is for {shown(invite.jid)}, not for {shown(jid)}")
    return jid


def known_account(config: Config, address: str) -> Account:
    """Return what the configuration says of the account `address`, or a new one under a name that is free."""
    for account in config.accounts.values():
        if account.jid == address:
            return account
    local = address.partition("@")[0]
    return Account(address if local in config.accounts else local, address)


def keep(paths: Paths, account: Account, password: str) -> None:
    """Write down an account that works: its password only where no command gives it, best in the system's keyring.

    Raises SetupError.
    """
    if account.password_command or keychain.keep(account.jid, password):
        remove_password(paths.password(account.jid))
    else:
        write_password(paths.password(account.jid), password)
    write_account(paths.config, account, default=True)


def _try_account(
    invocation: Invocation,
    config: Config,
    account: Account,
    password: str,
    *,
    register: bool,
    invite: Invite | None,
) -> None:
    from jetcli.cli.running import carry_out

    report = invocation.begin("login")

    async def session() -> None:
        from jetcli.transfer.account import Credentials, login

        directory = paths_of(invocation).account(account.jid)
        credentials = Credentials(account, directory, password, config.trust)
        await login(credentials, register=register, command="jet login", emit=report.emit, invite=invite)

    carry_out(invocation, report, session())
