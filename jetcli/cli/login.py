"""`jet login`: what the command line, the configuration and the person say about an account, tried, then written down.

Nothing is written before the server has let us in.
"""

from pathlib import Path

from msgspec.structs import replace

from jetcli.cli import keychain
from jetcli.cli.accounts import config_of, paths_of, secret_for_login
from jetcli.cli.addresses import own_address
from jetcli.cli.invocation import Invocation
from jetcli.cli.passwords import command_words
from jetcli.errors import AuthError, UsageError
from jetcli.protocol.invite import Invite, parse_invite
from jetcli.protocol.policy import shown
from jetcli.protocol.scram import ScramKeys
from jetcli.state.accounts import write_account
from jetcli.state.config import Account, Config
from jetcli.state.passwords import write_password
from jetcli.state.paths import Paths
from jetcli.state.private import remove_private
from jetcli.state.scram import write_keys


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
    secret = secret_for_login(address, command, password_file, invocation, register=register)
    keys = _try_account(invocation, config, account, secret, register=register, invite=invite)
    keep(paths_of(invocation), account, secret, keys)
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


def keep(paths: Paths, account: Account, secret: str | ScramKeys, keys: ScramKeys | None = None) -> None:
    """Write down an account that works: what opens it only where no command gives it, best in the system's keyring.

    A file holds SCRAM's `keys` where the login had some, and only else the password. Raises SetupError.
    """
    password_file, keys_file = paths.password(account.jid), paths.scram_keys(account.jid)
    outdated = {password_file, keys_file}
    if account.password_command or (isinstance(secret, str) and keychain.keep(account.jid, secret)):
        pass
    elif keys is not None:
        write_keys(keys_file, keys)
        outdated.remove(keys_file)
    elif isinstance(secret, str):
        write_password(password_file, secret)
        outdated.remove(password_file)
    for file in outdated:
        remove_private(file)
    write_account(paths.config, account, default=True)


def _try_account(
    invocation: Invocation,
    config: Config,
    account: Account,
    secret: str | ScramKeys,
    *,
    register: bool,
    invite: Invite | None,
) -> ScramKeys | None:
    from jetcli.cli.running import carry_out

    report = invocation.begin("login")

    async def session() -> ScramKeys | None:
        from jetcli.transfer.account import Credentials, login

        directory = paths_of(invocation).account(account.jid)
        credentials = Credentials(account, directory, secret, config.trust)
        return await login(credentials, register=register, command="jet login", emit=report.emit, invite=invite)

    try:
        return carry_out(invocation, report, session)
    except AuthError as error:
        if error.hint == f"jet login {account.jid}":  # which is what has just been tried
            error.hint = ""
        raise
