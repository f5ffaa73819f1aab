"""The command line of jet: the only place that prints, asks and exits. This page is its edge.

`run` turns whatever happens into one exit code, at most two lines and, for programs, one result. It knows no command;
`jetcli.cli.main` does. Nothing heavy is imported before a command needs it.
"""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from jetcli.cli.invocation import Invocation
from jetcli.cli.signals import SIGPIPE_CODE, Interruption, Stopped
from jetcli.cli.streams import provide_standard_streams
from jetcli.errors import JetError, LocalFileError, UsageError

if TYPE_CHECKING:
    import click

BUG_HINT = "this is a bug in jet: run the command again with -vv and report what it says"


def run(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says and leave the process with its exit code.

    The interpreter is left without tearing it down, which would cost a third of a second.
    """
    # The libraries make a million objects that stay: looking through them for garbage takes a tenth of the start.
    # `carry_out` switches it on again.
    gc.disable()
    provide_standard_streams()
    interruption = Interruption()
    interruption.install()
    code = perform(list(sys.argv[1:] if arguments is None else arguments), interruption)
    _flush()
    os._exit(code)


def perform(arguments: list[str], interruption: Interruption) -> int:
    """Do what `arguments` say; return the exit code after everything has been told."""
    invocation = Invocation(interruption, password=os.environ.pop("JET_PASSWORD", None))
    try:
        try:
            code = _command(arguments, invocation)
        finally:
            # A signal is only noted from here on: there is nothing left that it could stop.
            interruption.cancels(lambda: None)
    except Stopped:
        code = interruption.code or 1
    except JetError as error:
        code = _failed(arguments, invocation, error)
    except Exception as error:  # noqa: BLE001 (the edge: a bug becomes one line, and its traceback is for -vv)
        code = _failed(arguments, invocation, _bug(error))
    interruption.settled()
    stopped = interruption.code
    code = stopped or code
    if invocation.report is not None:
        if stopped is not None:
            invocation.report.stopped()
        invocation.report.result(code)
    # What comes too late to be told changes nothing, but that the result cannot be written is known only now.
    return interruption.code if interruption.code in (SIGPIPE_CODE, LocalFileError.exit_code) else code


def _command(arguments: list[str], invocation: Invocation) -> int:
    """Let click find the command and do it; its own ways to end become ours."""
    import click

    from jetcli.cli.main import jet

    try:
        done = jet.main(arguments, prog_name="jet", standalone_mode=False, obj=invocation, auto_envvar_prefix="JET")
    except click.exceptions.NoArgsIsHelpError as shown_help:
        print(shown_help.ctx.get_help() if shown_help.ctx else "", file=sys.stderr)
        return UsageError.exit_code
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as problem:
        raise _usage(problem) from None
    return done if isinstance(done, int) else 0


def _usage(problem: "click.ClickException") -> UsageError:
    """Say what click found wrong in the way that jet says things."""
    from jetcli.cli.grammar import hint_for, message_of
    from jetcli.protocol.policy import shown

    message = shown(" ".join(message_of(problem).split()), 400).rstrip(".")
    return UsageError(message[:1].lower() + message[1:], hint=hint_for(problem))


def _failed(arguments: list[str], invocation: Invocation, error: JetError) -> int:
    """Tell why the command failed, unless a signal ended it: then its failure is what was asked for."""
    if invocation.interruption.code is None:
        # The words may have been refused before the option that asks for JSON was read.
        invocation.json = invocation.json or "--json" in arguments
        invocation.fail(error)
    if invocation.verbose > 1 or "-vv" in arguments:
        import traceback

        from jetcli.protocol.policy import shown

        for line in "".join(traceback.format_exception(error.__cause__ or error)).splitlines():
            print(shown(line, 1000), file=sys.stderr)
    return error.exit_code


def _bug(error: Exception) -> JetError:
    from jetcli.protocol.policy import shown

    text = shown(str(error))
    bug = JetError(f"{type(error).__name__}: {text}" if text else type(error).__name__, hint=BUG_HINT)
    bug.__cause__ = error
    return bug


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
