"""What each command does: check its words, go online, hand over to `jetcli.transfer`, and turn the end into a code.

All that costs time to import is imported after the words have been found good.
"""

import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jetcli.cli import addresses
from jetcli.cli.invocation import Invocation
from jetcli.cli.session import go_online
from jetcli.errors import LocalFileError, UnsupportedError, UsageError
from jetcli.transfer.options import Network, OnExist, PathPolicy, ReceiveOptions, SendOptions

if TYPE_CHECKING:
    from jetcli.cli.report import Report
    from jetcli.state.config import Config
    from jetcli.transfer.account import Online
    from jetcli.transfer.events import Consent, OfferSeen


def send_command(
    invocation: Invocation,
    *,
    words: Sequence[str],
    to: str | None,
    name: str | None,
    path: PathPolicy | None,
    wait: float,
    retry: int | None,
    checksum: bool,
    size: int | None,
    no_spool: bool,
    dry_run: bool,
) -> int:
    """Send files (`jet send`); returns the exit code."""
    files, peer = addresses.files_and_address(words, to, lambda: _aliases(invocation))
    if name is not None and len(files) > 1:
        raise UsageError("--name is for a single file")
    if size is not None and "-" not in map(str, files):
        raise UsageError("--size is for standard input", hint="jet send - --size BYTES JID")
    report = invocation.begin("send", "send")
    report.expected = len(files)
    check_sources(files, name)
    config = _config(invocation)
    network = network_of(invocation, config, path, retry)
    options = SendOptions(network, name=name, wait_s=wait, checksum=checksum, size=size, no_spool=no_spool)

    async def rehearsal(online: "Online") -> int:
        from jetcli.cli.wording import plural
        from jetcli.protocol.policy import shown
        from jetcli.transfer.rehearsal import rehearse

        found = await rehearse(online, files, str(peer), options, report.emit)
        report.view.line(f"Would send {plural(len(files), 'file')} to {shown(found.jid)}.")
        return 0

    async def work(online: "Online") -> int:
        from jetcli.cli.report import exit_code
        from jetcli.transfer.send import send_files

        return exit_code(await send_files(online, files, str(peer), options, report.emit))

    return go_online(invocation, report, config, network, rehearsal if dry_run else work, command="send")


def receive_command(
    invocation: Invocation,
    *,
    directory: Path | None,
    output: Path | None,
    stdout: bool,
    unverified_stdout: bool,
    extract: bool,
    command: str | None,
    idle: float | None,
    senders: Sequence[str],
    count: int | None,
    on_exist: OnExist | None,
    max_size: int | None,
    path: PathPolicy | None,
    accept_all: bool,
    forever: bool,
    allow_hidden: bool,
    keep_partial: bool,
    retry: int | None,
    null: bool,
) -> int:
    """Wait for files (`jet receive`); returns the exit code."""
    from jetcli.cli.accounts import interactive

    if str(output) == "-" or unverified_stdout:
        output, stdout = None, True
    if stdout and extract:
        raise UsageError("--stdout unpacks nothing: leave out --extract", hint="jet receive --stdout | tar x")
    _check_receive(directory, output, count, forever=forever, stdout=stdout)
    if not (accept_all or senders or interactive(invocation)):
        raise UsageError("nobody is there to be asked", hint="jet receive --accept-all, or --from JID")
    allowed = addresses.allowed_senders(senders, lambda: _aliases(invocation))
    config = _config(invocation)
    network = network_of(invocation, config, path, retry)
    report = invocation.begin("receive", "receive", events_to_stderr=stdout)
    report.path_end = "\0" if null else "\n"
    saved_in = directory or (output.parent if output else config.receive.directory) or Path()
    on_exist = on_exist or config.receive.on_exist or "ask"
    options = ReceiveOptions(
        saved_in if stdout else saving_directory(saved_in),
        network,
        output=free_name(output) if on_exist != "overwrite" else output,
        accept_all=accept_all,
        senders=allowed,
        count=None if forever else count or 1,
        on_exist=on_exist,
        max_size=max_size if max_size is not None else config.receive.max_size,
        allow_hidden=allow_hidden or config.receive.allow_hidden,
        keep_partial=keep_partial or config.receive.keep_partial,
        stdout=stdout,
        unverified_stdout=unverified_stdout,
        extract=extract,
        command=_words(command),
        idle_s=idle,
    )

    async def work(online: "Online") -> int:
        import asyncio

        from jetcli.cli.report import exit_code
        from jetcli.transfer.receive import receive_files

        consent = _consent(invocation, report, ask=not accept_all)
        return exit_code(await receive_files(online, options, report.emit, consent, asyncio.Event()))

    return go_online(invocation, report, config, network, work, command="receive")


def caps_command(invocation: Invocation, jid: str | None, *, raw: bool) -> int:
    """Show what a contact's devices, or our own and the server, can do (`jet caps`); returns the exit code."""
    peer = None if jid is None else addresses.peer_address(jid, lambda: _aliases(invocation), hint="jet caps JID")
    report = invocation.begin("caps")
    config = _config(invocation)
    network = network_of(invocation, config, None)

    async def work(online: "Online") -> int:
        from jetcli.cli.tables import show_devices
        from jetcli.transfer.peer import capabilities

        able = show_devices(report, str(peer), await capabilities(online, str(peer)), raw=raw)
        return 0 if able else UnsupportedError.exit_code

    async def own(online: "Online") -> int:
        from jetcli.cli.doctor import tell_check
        from jetcli.cli.tables import show_devices
        from jetcli.transfer.checks import server_checks
        from jetcli.transfer.peer import own_capabilities

        show_devices(report, online.bare_jid, await own_capabilities(online), raw=raw, own=True)
        for check in await server_checks(online):
            tell_check(report, check, as_note=True)
        return 0

    return go_online(invocation, report, config, network, work if peer else own, command="caps")


def hello_command(invocation: Invocation, jid: str) -> int:
    """Write one line to a contact (`jet hello`); returns the exit code."""
    peer = addresses.peer_address(jid, lambda: _aliases(invocation), hint="jet hello JID")
    bare_jid = str(peer.bare)
    report = invocation.begin("hello")
    config = _config(invocation)
    network = network_of(invocation, config, None)

    async def work(online: "Online") -> int:
        from jetcli.cli.wording import plural
        from jetcli.transfer.hello import say_hello

        devices = await say_hello(online, bare_jid)
        report.view.line(f"Said hello to {plural(len(devices), 'device')} of {bare_jid}.")
        return 0

    return go_online(invocation, report, config, network, work, command="hello")


def try_command(invocation: Invocation, file: Path | None, *, shell: bool, cut: int | None) -> int:
    """Show a transfer on this machine (`jet try`); returns the exit code."""
    from jetcli.protocol.policy import shown
    from jetcli.trial.run import run_trial

    report = invocation.begin("try")
    if file is not None:
        check_sources((file,), None)
        if file.is_dir():
            raise UsageError(f"'{shown(str(file))}' is a directory", hint="jet try FILE")
    return run_trial(file, shell=shell, line=report.view.line, cut=cut)


def _consent(invocation: Invocation, report: "Report", *, ask: bool) -> Callable[["OfferSeen"], Awaitable["Consent"]]:
    """Return who answers offers that passed the rules: a person, or those rules where nobody is to be asked."""
    from jetcli.cli.accounts import interactive
    from jetcli.transfer.events import Consent

    if ask and interactive(invocation):
        from jetcli.cli.prompt import Questions

        report.view.asks = True
        return Questions(report.view, report.json).consent

    async def agree(offer: "OfferSeen") -> Consent:
        del offer
        return Consent(accept=True)

    return agree


def _config(invocation: Invocation) -> "Config":
    from jetcli.cli.accounts import config_of

    return config_of(invocation)


def _aliases(invocation: Invocation) -> Mapping[str, str]:
    return _config(invocation).aliases


def network_of(invocation: Invocation, config: "Config", path: PathPolicy | None, retry: int | None = None) -> Network:
    """Return how to reach peers: the command line before the configuration before the defaults."""
    said, default = config.network, Network()
    timeout_s = invocation.timeout if invocation.timeout is not None else said.acceptance_s
    return Network(
        path=path or said.path or default.path,
        loopback=said.loopback,
        listen=said.listen,
        advertise=said.advertise,
        acceptance_s=timeout_s if timeout_s is not None else default.acceptance_s,
        idle_s=said.idle_s if said.idle_s is not None else default.idle_s,
        retries=default.retries if retry is None else retry,
        rate=invocation.rate,
    )


def check_sources(files: Sequence[Path], name: str | None) -> None:
    """Open every file once before anybody is called, so that a typing error costs nothing. Raises LocalFileError."""
    from jetcli.files.source import check_sendable

    for file in files:
        check_sendable(file, name)


def _check_receive(
    directory: Path | None, output: Path | None, count: int | None, *, forever: bool, stdout: bool
) -> None:
    if stdout and (output is not None or directory is not None):
        raise UsageError("--stdout saves no file: leave out -o and -d")
    if stdout and (forever or (count or 1) > 1):
        raise UsageError("--stdout takes one file")
    if forever and count is not None:
        raise UsageError("--forever and --count exclude each other")
    if output is None:
        return
    if directory is not None:
        raise UsageError("-o names a file and -d a directory: give one of them")
    if output.is_dir():
        raise UsageError(f"'{output}' is a directory", hint=f"-d {output}")
    if forever or (count or 1) > 1:
        raise UsageError("-o is for a single file", hint="-d DIR")


def saving_directory(directory: Path) -> Path:
    """Return a directory that files can be saved in; raise LocalFileError where they cannot."""
    if not directory.is_dir():
        if os.path.lexists(directory):
            raise LocalFileError(f"cannot save in '{directory}': not a directory")
        raise LocalFileError(f"cannot save in '{directory}': no such directory", hint=f"mkdir -p {directory}")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise LocalFileError(f"cannot save in '{directory}': permission denied")
    return directory


def free_name(output: Path | None) -> Path | None:
    """Return the name that the user chose; raise LocalFileError where it is taken."""
    if output is not None and os.path.lexists(output):
        raise LocalFileError(f"'{output}' exists already")
    return output


def _words(command: str | None) -> tuple[str, ...]:
    """Split what --exec says into its words; raise UsageError where there are none."""
    if command is None:
        return ()
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--exec: {str(error).lower()}") from None
    if not words:
        raise UsageError("--exec names no command")
    return words
