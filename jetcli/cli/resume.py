"""`jet resume`: which of the recorded transfers is meant, and what to show, forget or continue of them."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetcli.cli.accounts import config_of, interactive, paths_of
from jetcli.cli.invocation import Invocation
from jetcli.cli.wording import duration_text, share_text, size_text
from jetcli.errors import LocalFileError, NotResumableError, UsageError
from jetcli.files.reason import reason
from jetcli.protocol.policy import shown
from jetcli.state.config import Account, Config
from jetcli.state.locks import transfer_holder, transfer_lock
from jetcli.state.store import Store
from jetcli.state.transfers import TransferRecord, Transfers, TransferState
from jetcli.transfer.options import Network, OnExist, PathPolicy, Placing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetcli.cli.report import Report
    from jetcli.transfer.account import Online
    from jetcli.transfer.events import FileDone, FileFailed

COLUMNS = ("ID", "DIRECTION", "FILE", "HELD", "PEER", "LAST", "STATE")


def resume_command(
    invocation: Invocation,
    *,
    words: Sequence[str],
    every: bool,
    listing: bool,
    forget: str | None,
    output: Path | None,
    on_exist: OnExist | None,
    adopt: bool,
    path: PathPolicy | None,
    wait: float,
    retry: int | None,
) -> int:
    """Continue, show or forget interrupted transfers (`jet resume`); returns the exit code."""
    config = config_of(invocation)
    account = config.account(invocation.account)
    with _transfers(invocation, account) as transfers:
        if forget is not None:
            invocation.begin("resume")
            return _forget(transfers, forget, paths_of(invocation).account(account.jid))
        unfinished = transfers.unfinished()
        chosen = _chosen(transfers, unfinished, words) if words else unfinished
    if listing or (not chosen and not words):
        report = invocation.begin("resume")
        show_transfers(report, chosen, paths_of(invocation).account(account.jid))
        return 0
    if not words and not every and len(chosen) > 1:
        show_transfers(invocation.begin("resume"), chosen, paths_of(invocation).account(account.jid))
        raise UsageError("several transfers are unfinished", hint="jet resume ID, or jet resume --all")
    if output is not None and len(chosen) > 1:
        raise UsageError("-o is for a single file")
    from jetcli.cli.work import network_of

    network = network_of(invocation, config, path, retry)
    return _continue(invocation, config, network, chosen, placing=Placing(output, on_exist, adopt), wait_s=wait)


def show_transfers(report: "Report", records: Sequence[TransferRecord], directory: Path) -> None:
    """Show transfers: who has the rest, how much is held, and since when nothing has moved."""
    from jetcli.cli.tables import show_table

    rows = [_row(record, directory) for record in records]
    if report.json is not None:
        for row in rows:
            report.row(row, kind="transfer")
        return
    if rows:
        show_table(report, COLUMNS, [_cells(row) for row in rows])
    else:
        report.view.line("Nothing is unfinished.")


def _continue(
    invocation: Invocation,
    config: Config,
    network: Network,
    records: Sequence[TransferRecord],
    *,
    placing: Placing,
    wait_s: float,
) -> int:
    from jetcli.cli.session import go_online

    directions = {record.direction for record in records}
    report = invocation.begin("resume", directions.pop() if len(directions) == 1 else None)

    async def work(online: "Online") -> int:
        from jetcli.cli.report import exit_code
        from jetcli.transfer.resume import resume_files

        results = await resume_files(online, records, placing, report.emit, wait_s=wait_s)
        again = [record for record, result in zip(records, results, strict=True) if _may_start_again(record, result)]
        if again and interactive(invocation):
            restarted = {record.id: await _start_again(online, record, report) for record in again}
            results = [restarted.get(record.id) or result for record, result in zip(records, results, strict=True)]
        return exit_code(results)

    return go_online(invocation, report, config, network, work, command="resume")


def _may_start_again(record: TransferRecord, result: "FileDone | FileFailed") -> bool:
    """Say whether the file could still be sent from its beginning, now that it cannot be continued."""
    from jetcli.transfer.events import FileFailed

    not_resumable = isinstance(result, FileFailed) and isinstance(result.error, NotResumableError)
    return not_resumable and record.direction == "send" and Path(record.path).is_file()


async def _start_again(online: "Online", record: TransferRecord, report: "Report") -> "FileDone | FileFailed | None":
    """Send a file from its beginning if the user says so; None where they do not."""
    from jetcli.cli.prompt import Questions
    from jetcli.transfer.options import SendOptions
    from jetcli.transfer.send import send_files

    question = f"Send {shown(record.name)} to {shown(record.peer)} again from the beginning?"
    if not await Questions(report.view, report.json).confirm(record.id, question):
        return None
    online.transfers.finish(record.id, TransferState.FAILED, record.updated)
    options = SendOptions(online.network, name=record.name)
    return (await send_files(online, [Path(record.path)], record.peer, options, report.emit))[0]


@contextmanager
def _transfers(invocation: Invocation, account: Account) -> "Iterator[Transfers]":
    with Store.open(paths_of(invocation).account(account.jid)) as store:
        yield Transfers(store)


def _chosen(transfers: Transfers, unfinished: Sequence[TransferRecord], words: Sequence[str]) -> list[TransferRecord]:
    """Return the transfers that are meant: by id, else by the name or the path of an unfinished one's file."""
    chosen = []
    for word in words:
        named = [record for record in unfinished if word in _names(record)]
        if len(named) > 1 and word not in {record.id for record in named}:
            raise UsageError(f"several transfers are of '{shown(word)}'", hint="jet resume ID")
        exact = [record for record in named if record.id == word]
        chosen.append((exact or named or [transfers.get(word)])[0])
    return list({record.id: record for record in chosen}.values())


def _names(record: TransferRecord) -> set[str]:
    path = Path(record.path)
    files = {str(path)} if record.direction == "send" else {str(path / (record.final_name or record.name))}
    local = {os.path.relpath(file) for file in files}
    return {record.id, record.name, record.final_name or record.name, *files, *local}


def _forget(transfers: Transfers, transfer_id: str, directory: Path) -> int:
    """Remove part and record of a transfer that nobody is busy with."""
    record = transfers.get(transfer_id)
    with transfer_lock(directory, record.id, command="jet resume"):
        try:
            part = _part(record)
            if part is not None and record.part_inode in {None, part[1].st_ino}:
                part[0].unlink(missing_ok=True)
        except OSError as error:
            told = f"cannot remove the part of '{shown(record.name)}' in '{shown(record.path)}': {reason(error)}"
            raise LocalFileError(told) from error
        transfers.forget(record.id)
    return 0


def _part(record: TransferRecord) -> tuple[Path, os.stat_result] | None:
    """Return the part file and what it is, if there is one; raises OSError where that cannot be seen."""
    if record.direction == "send" or record.part is None:
        return None
    part = Path(record.path) / record.part
    try:
        return part, part.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _visible_part(record: TransferRecord) -> tuple[Path, os.stat_result] | None:
    try:
        return _part(record)
    except OSError:
        return None


def _row(record: TransferRecord, directory: Path) -> dict[str, Any]:
    part = _visible_part(record)
    return {
        "transfer": record.id,
        "direction": record.direction,
        "name": record.name,
        "size": record.size,
        "held": record.verified if record.direction == "receive" else None,
        "peer": record.peer,
        "path": record.path,
        "part": None if part is None else str(part[0]),
        "part_size": None if part is None else part[1].st_size,
        "age": round(max(time.time() - record.updated, 0.0), 1),
        "state": "running" if transfer_holder(directory, record.id) else record.state.value,
        "resumable": record.chunked and record.state is not TransferState.DONE,
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["held"] is None:
        held = "" if row["size"] is None else size_text(row["size"])
    else:
        held = size_text(row["held"]) if row["size"] is None else share_text(row["held"], row["size"])
    state = row["state"]
    if state != "running":
        state = "interrupted" if row["resumable"] else "not resumable"
    age = f"{duration_text(row['age'])} ago"
    return row["transfer"], row["direction"], shown(row["name"]), held, shown(row["peer"]), age, state
