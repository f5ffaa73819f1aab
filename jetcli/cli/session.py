"""Going online for one command: the chosen account, what opens it, its trust, and a clean end."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from jetcli.cli.invocation import Invocation
from jetcli.transfer.options import Network

if TYPE_CHECKING:
    from jetcli.cli.report import Report
    from jetcli.state.config import Config
    from jetcli.transfer.account import Credentials, Online


def credentials_of(invocation: Invocation, config: "Config") -> "Credentials":
    """Return the chosen account with what opens it and the trust that this run asks for. Raises SetupError."""
    from jetcli.cli.accounts import paths_of, secret_of
    from jetcli.transfer.account import Credentials

    account = config.account(invocation.account)
    return Credentials(
        account,
        paths_of(invocation).account(account.jid),
        secret_of(account, invocation),
        invocation.trust or config.trust,
        invocation.fingerprints,
    )


def go_online(
    invocation: Invocation,
    report: "Report",
    config: "Config",
    network: Network,
    work: Callable[["Online"], Coroutine[Any, Any, int]],
    *,
    command: str,
) -> int:
    """Go online with the chosen account, do `work` there, and leave cleanly; returns what `work` does."""
    from jetcli.cli.running import carry_out

    credentials = credentials_of(invocation, config)

    async def session() -> int:
        from jetcli.transfer.account import Online

        receiving = command == "receive"
        async with await Online.open(
            credentials, network, receiving=receiving, command=f"jet {command}", emit=report.emit
        ) as online:
            return await online.unless_lost(work(online))

    return carry_out(invocation, report, session)
