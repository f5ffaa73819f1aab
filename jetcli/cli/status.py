"""`jet status`: the accounts, what is unfinished, and with `--all` what has been; without the network."""

import time
from collections.abc import Sequence
from datetime import datetime

from jetcli.cli.accounts import config_of, paths_of
from jetcli.cli.invocation import Invocation
from jetcli.cli.report import Report
from jetcli.cli.tables import show_table
from jetcli.cli.wording import share_text, size_text
from jetcli.errors import SetupError
from jetcli.protocol.fingerprint import fingerprint
from jetcli.protocol.policy import shown
from jetcli.state.config import Account, Config
from jetcli.state.store import Store
from jetcli.state.transfers import TransferRecord, Transfers
from jetcli.transfer.trust import own_key

COLUMNS = ("ID", "STATE", "", "FILE", "DONE", "WITH", "WHEN")


def status_command(invocation: Invocation, *, every: bool) -> int:
    """Show accounts and transfers (`jet status`); returns the exit code."""
    report = invocation.begin("status")
    config = config_of(invocation)
    if not config.accounts:
        raise SetupError("there is no account", hint="jet login JID")
    chosen = [config.account(invocation.account)] if invocation.account else list(config.accounts.values())
    records = []
    for account in chosen:
        _tell_account(invocation, report, config, account)
        records += [(account, record) for record in _records(invocation, account, every=every)]
    _tell_transfers(report, records, every=every)
    return 0


def _records(invocation: Invocation, account: Account, *, every: bool) -> list[TransferRecord]:
    directory = paths_of(invocation).account(account.jid)
    if not (directory / "state.db").exists():
        return []
    with Store.open(directory) as store:
        transfers = Transfers(store)
        return transfers.history() if every else transfers.unfinished()


def _tell_account(invocation: Invocation, report: Report, config: Config, account: Account) -> None:
    own = own_key(paths_of(invocation).account(account.jid), account.jid)
    default = account.name == config.default or len(config.accounts) == 1
    if report.json is not None:
        fields = {
            "name": account.name,
            "jid": account.jid,
            "default": default,
            "device": own.device_id if own else None,
            "fingerprint": own.identity_key.hex() if own else None,
        }
        report.row(fields, kind="account")
        return
    report.view.line(f"{shown(account.jid)} ({shown(account.name)}{', default' if default else ''})")
    key = f"device {own.device_id}, {fingerprint(own.identity_key)}" if own else "no key on this machine yet"
    report.view.line(f"    {key}")


def _tell_transfers(report: Report, records: Sequence[tuple[Account, TransferRecord]], *, every: bool) -> None:
    if report.json is not None:
        for account, record in records:
            report.row(_fields(account, record), kind="transfer")
        return
    if not records:
        report.view.line("No transfers yet." if every else "No unfinished transfers.")
        return
    show_table(report, COLUMNS, [_cells(record) for _account, record in records])


def _fields(account: Account, record: TransferRecord) -> dict[str, object]:
    return {
        "transfer": record.id,
        "direction": record.direction,
        "account": account.name,
        "state": record.state.value,
        "peer": record.peer,
        "name": record.name,
        "path": record.path,
        "size": record.size,
        "held": record.verified if record.direction == "receive" else None,
        "age": round(max(time.time() - record.updated, 0.0), 1),
    }


def _cells(record: TransferRecord) -> tuple[str, ...]:
    done = size_text(record.verified) if record.size is None else share_text(record.verified, record.size)
    if record.state.value == "done":
        done = "" if record.size is None else size_text(record.size)
    when = f"{datetime.fromtimestamp(record.updated).astimezone():%Y-%m-%d %H:%M}"
    arrow = "to" if record.direction == "send" else "from"
    return (
        record.id,
        record.state.value,
        record.direction,
        shown(record.name),
        done,
        f"{arrow} {shown(record.peer)}",
        when,
    )
