"""`jet doctor`: one line a check, and how to mend what is not well. What needs the network is `transfer.checks`."""

import os
from collections.abc import Iterator
from pathlib import Path

from jetcli.cli.accounts import config_of, paths_of
from jetcli.cli.invocation import Invocation
from jetcli.cli.report import Report
from jetcli.cli.session import credentials_of
from jetcli.cli.streams import MAX_LINE
from jetcli.cli.wording import size_text
from jetcli.errors import JetError
from jetcli.files.space import free_bytes
from jetcli.protocol.policy import shown
from jetcli.state.config import Account, Config
from jetcli.state.private import refuse_shared
from jetcli.transfer.checks import Check, failed_login, server_checks
from jetcli.transfer.options import Network

COLOURS = {"ok": "green", "warn": "yellow", "FAIL": "red"}
_LITTLE_SPACE = 10**9


def doctor_command(invocation: Invocation) -> int:
    """Check everything that a transfer needs (`jet doctor`); returns the exit code."""
    report = invocation.begin("doctor")
    worst = 0
    for check in _checks(invocation, report):
        tell_check(report, check)
        if check.level == "FAIL" and not worst:
            worst = check.exit_code
    if not worst:
        report.view.line("Nothing stands in the way of a transfer.")
    return worst


def _checks(invocation: Invocation, report: Report) -> Iterator[Check]:
    try:
        config = config_of(invocation)
        account = config.account(invocation.account)
    except JetError as error:
        yield _failed("config", error)
        return
    yield Check("config", "ok", f"{shown(str(config.file))}, account {shown(account.jid)}")
    permissions = _permissions(invocation, config, account)
    yield permissions
    yield from _disks(invocation, config)
    if permissions.level == "FAIL":
        return
    yield from _network(invocation, report, config)


def _permissions(invocation: Invocation, config: Config, account: Account) -> Check:
    """Look at what nobody else may read; a configuration holds no secret, and may be shared."""
    directory = paths_of(invocation).account(account.jid)
    try:
        if directory.exists() and directory.stat().st_mode & 0o077:
            return Check("permissions", "FAIL", f"'{directory}' can be read by others", f"chmod 700 '{directory}'")
        for file in sorted(directory.glob("*")):
            refuse_shared(file)
    except JetError as error:
        return _failed("permissions", error)
    if config.file.exists() and config.file.stat().st_mode & 0o022:
        return Check("permissions", "warn", f"others can change '{config.file}'", f"chmod 600 '{config.file}'")
    return Check("permissions", "ok", f"only you can read '{directory}'")


def _disks(invocation: Invocation, config: Config) -> Iterator[Check]:
    places = {"state": _existing(paths_of(invocation).state), "files": config.receive.directory or Path()}
    for what, place in places.items():
        if not os.access(place, os.W_OK | os.X_OK):
            yield Check("disk", "FAIL", f"no {what} can be written to '{place}'", f"chmod u+rwx '{place}'", 13)
            continue
        free = free_bytes(place)
        text = f"{size_text(free)} free for {what}"
        yield Check("disk", "ok", text) if free >= _LITTLE_SPACE else Check("disk", "warn", text, "make room")


def _existing(place: Path) -> Path:
    return next(each for each in (place, *place.absolute().parents) if each.exists())


def _network(invocation: Invocation, report: Report, config: Config) -> list[Check]:
    from jetcli.cli.running import carry_out

    try:
        credentials = credentials_of(invocation, config)
    except JetError as error:
        return [_failed("password", error)]
    network = Network(loopback=config.network.loopback)

    async def session() -> list[Check]:
        from jetcli.transfer.account import Online

        async with await Online.open(
            credentials, network, receiving=False, command="jet doctor", emit=report.emit
        ) as online:
            return await online.unless_lost(server_checks(online))

    try:
        return carry_out(invocation, report, session)
    except JetError as error:
        return [failed_login(error)]


def _failed(name: str, error: JetError) -> Check:
    return Check(name, "FAIL", error.message, error.hint, error.exit_code)


def tell_check(report: Report, check: Check, *, as_note: bool = False) -> None:
    """Tell one line of the checks: a row for programs, a line for people; `as_note` beside another table."""
    if report.json is not None:
        report.row(
            {"check": check.name, "level": check.level, "message": check.text, "hint": check.repair}, kind="check"
        )
        return
    text, way_out = shown(check.text, MAX_LINE), shown(check.repair, MAX_LINE)
    if as_note:
        report.view.line(f"{check.name}: {text}")
        return
    if not report.output.terminal:
        report.output.write(f"{check.level}\t{check.name}\t{text}\t{way_out}\n".encode())
        return
    level = report.messages.painted(f"{check.level:4}", COLOURS[check.level])
    repair = f"\n                    {way_out}" if way_out else ""
    report.output.write(f"{level}  {check.name:12}  {text}{repair}\n".encode())
