"""`jet share` and `jet request`: check the words, go online, hand over to `jetcli.transfer`."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jetcli.cli import addresses
from jetcli.cli.accounts import config_of
from jetcli.cli.invocation import Invocation
from jetcli.cli.session import go_online
from jetcli.cli.work import free_name, network_of, saving_directory
from jetcli.errors import LocalFileError, UsageError
from jetcli.transfer.options import OnExist, PathPolicy, ReceiveOptions

if TYPE_CHECKING:
    from jetcli.transfer.account import Online


def share_command(
    invocation: Invocation, *, files: Sequence[Path], to: Sequence[str], path: PathPolicy | None, retry: int | None
) -> int:
    """Give files out to who requests them (`jet share`); runs until a signal ends it."""
    if not files:
        raise UsageError("missing FILE", hint="jet share FILE...")
    allowed = [str(addresses.peer_address(jid, lambda: config_of(invocation).aliases, hint="--to JID")) for jid in to]
    report = invocation.begin("share", "send")
    _check_shareable(files)
    config = config_of(invocation)
    network = network_of(invocation, config, path, retry)

    async def work(online: "Online") -> int:
        import asyncio

        from jetcli.transfer.share import share_files

        report.view.line(f"Sharing as {online.jid} · Ctrl-C to stop")
        await share_files(online, files, [jid.partition("/")[0] for jid in allowed], report.emit, asyncio.Event())
        return 0

    return go_online(invocation, report, config, network, work, command="share")


def request_command(
    invocation: Invocation,
    *,
    what: str,
    jid: str,
    directory: Path | None,
    output: Path | None,
    on_exist: OnExist | None,
    path: PathPolicy | None,
    retry: int | None,
) -> int:
    """Ask for a shared file (`jet request`); returns the exit code."""
    peer = addresses.peer_address(jid, lambda: config_of(invocation).aliases, hint="jet request WHAT JID")
    if output is not None and directory is not None:
        raise UsageError("-o names a file and -d a directory: give one of them")
    stdout = str(output) == "-"
    if stdout:
        output = None
    report = invocation.begin("request", "receive", events_to_stderr=stdout)
    config = config_of(invocation)
    network = network_of(invocation, config, path, retry)
    saved_in = directory or (output.parent if output else config.receive.directory) or Path()
    options = ReceiveOptions(
        saved_in if stdout else saving_directory(saved_in),
        network,
        output=output if on_exist == "skip" else free_name(output),
        on_exist=on_exist or "rename",
        max_size=config.receive.max_size,
        allow_hidden=config.receive.allow_hidden,
        stdout=stdout,
    )

    async def work(online: "Online") -> int:
        from jetcli.cli.report import exit_code
        from jetcli.transfer.request import request_file

        return exit_code([await request_file(online, what, str(peer), options, report.emit)])

    return go_online(invocation, report, config, network, work, command="request")


def _check_shareable(files: Sequence[Path]) -> None:
    """Raise LocalFileError, before anybody is called, for what is no file that can be read."""
    from jetcli.files.source import Source

    for file in files:
        if file.is_dir():
            hint = f"jet share {shlex.quote(str(file))}/*"
            raise LocalFileError(f"'{file}' is a directory, and only files can be shared", hint=hint)
        Source.open(file).close()
