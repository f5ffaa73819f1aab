"""`jet logout`: forget an account's password; with `--remove-device` also all that makes this machine its device."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jetcli.cli import keychain
from jetcli.cli.accounts import config_of, paths_of
from jetcli.cli.invocation import Invocation
from jetcli.errors import SetupError
from jetcli.state.accounts import remove_account
from jetcli.state.locks import online_here
from jetcli.state.private import remove_private
from jetcli.transfer.options import Network

if TYPE_CHECKING:
    from jetcli.transfer.account import Online


def logout_command(invocation: Invocation, *, jid: str | None, remove_device: bool) -> int:
    """Forget an account (`jet logout`); returns the exit code.

    The device goes first: it needs the password, and a failure leaves everything as it was.
    """
    report = invocation.begin("logout")
    config = config_of(invocation)
    account = config.account(jid or invocation.account)
    paths = paths_of(invocation)
    directory = paths.account(account.jid)
    if remove_device:
        from jetcli.cli.session import go_online

        _refuse_while_used(directory, account.jid)

        async def withdraw(online: "Online") -> int:
            await online.omemo.withdraw()
            return 0

        invocation.account = account.name
        go_online(invocation, report, config, Network(), withdraw, command="logout")
        report.view.line(f"This machine is no longer a device of {account.jid}.")
    remove_account(config.file, account.name)
    keychain.forget(account.jid)
    remove_private(paths.password(account.jid))
    remove_private(paths.scram_keys(account.jid))
    if remove_device:
        try:
            shutil.rmtree(directory)
        except OSError as error:
            raise SetupError(f"cannot remove '{directory}': {(error.strerror or 'no reason given').lower()}") from None
    else:
        report.view.line(f"Its keys and history stay in '{directory}'.")
    report.view.line(f"Logged out of {account.jid}.")
    return 0


def _refuse_while_used(directory: Path, jid: str) -> None:
    """Raise SetupError while another jet works with the state: it would publish the device anew."""
    for other in online_here(directory):
        raise SetupError(
            f"another jet ({other}) is online as this device of {jid}",
            hint=f"stop it with  kill {other.pid}  and log out again" if other.pid else "",
        )
