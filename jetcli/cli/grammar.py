"""How a command line of jet reads: help that starts with examples, options before or after the command, near misses.

Built on click and on nothing else of jet's, since every `--help` and every completion loads it.
"""

import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from jetcli.cli.invocation import Invocation
from jetcli.cli.suggestions import accounts
from jetcli.protocol.fingerprint import parse_fingerprint
from jetcli.state.quantities import parse_duration, parse_endpoint, parse_rate, parse_size

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: Every command can be written in these other ways; they are in no list.
ALIASES = {"recv": "receive", "rx": "receive", "tx": "send"}

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class Converted(click.ParamType[Any]):
    """An option's value that `convert` reads; a ValueError of it becomes a usage error."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return what `value` means."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def _waiting_time(text: str) -> float:
    return math.inf if text == "forever" else parse_duration(text)


DURATION = Converted("DUR", parse_duration)
WAIT = Converted("DUR", _waiting_time)
SIZE = Converted("SIZE", parse_size)
RATE = Converted("RATE", parse_rate)
HOST_PORT = Converted("HOST:PORT", parse_endpoint)
FILE = click.Path(path_type=Path)
PATHS = click.Choice(["auto", "direct", "relay", "ibb"])
FINGERPRINT = Converted("HEX", parse_fingerprint)


class JetCommand(click.Command):
    """A command whose help starts with `examples`."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write this command's own options; the global ones stand in `jet --help`."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option) and not is_global(param)]
        records = [option.get_help_record(ctx) for option in options]
        own = [record for record in records if record is not None]
        if own:
            with formatter.section("Options"):
                formatter.write_dl(own)
        formatter.write_paragraph()
        formatter.write_text("Global options (jet --help lists them) may stand here too.")


class JetGroup(click.Group):
    """`jet` itself: knows the hidden aliases, and guesses what an unknown command was meant to be."""

    command_class = JetCommand

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then what click writes."""
        _write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were written down."""
        del ctx
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name or alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` start with; raise a usage error that names the nearest one."""
        name = args[0]
        if ctx.resilient_parsing or name.startswith("-") or self.get_command(ctx, name):
            return super().resolve_command(ctx, [ALIASES.get(name, name), *args[1:]])
        near = difflib.get_close_matches(name, [*self.commands, *ALIASES], n=1, cutoff=0.5)
        raise UnknownCommand(name, ALIASES.get(near[0], near[0]) if near else None, ctx)


class UnknownCommand(click.UsageError):
    """There is no such command; `nearest` is what may have been meant."""

    def __init__(self, name: str, nearest: str | None, ctx: click.Context) -> None:
        super().__init__(f"no such command '{name}'", ctx)
        self.nearest = nearest


def is_global(param: click.Parameter) -> bool:
    """Return whether `param` is one of the options that every command takes."""
    return param.name in _GLOBAL_NAMES


def global_options(function: _Decorated) -> _Decorated:
    """Add the options that may stand before and after the command."""
    for option in reversed(_GLOBAL):
        function = option(function)
    return function


def _note(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Write a global option into the invocation; what stands on the command line beats the environment."""
    invocation = ctx.find_object(Invocation)
    source = ctx.get_parameter_source(param.name or "")
    if invocation is None or param.name is None or source is click.core.ParameterSource.DEFAULT:
        return
    on_command_line = source is click.core.ParameterSource.COMMANDLINE
    if param.name in invocation.given and not on_command_line:
        return
    if on_command_line:
        invocation.given.add(param.name)
    if param.name == "verbose" and isinstance(value, int):
        value += invocation.verbose
    setattr(invocation, param.name, value)


def retry_option(function: _Decorated) -> _Decorated:
    """Add the option that says how long a transfer goes on by itself."""
    said = "Try a transfer that broke again so often, without a byte of progress, before giving up (10)."
    return click.option("--retry", type=click.IntRange(min=0), metavar="N", help=said)(function)


def rate_option(function: _Decorated) -> _Decorated:
    """Add the option that leaves room on the line for others."""

    def note(ctx: click.Context, _param: click.Parameter, value: int | None) -> None:
        invocation = ctx.find_object(Invocation)
        if invocation is not None:
            invocation.rate = value

    said = "Move so many bytes a second at most, all files together; for example 2M."
    return click.option("--limit-rate", type=RATE, metavar="RATE", expose_value=False, callback=note, help=said)(
        function
    )


def trust_options(function: _Decorated) -> _Decorated:
    """Add the options that say whose keys count in this run."""

    def note(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        invocation = ctx.find_object(Invocation)
        if invocation is not None and value:
            setattr(invocation, "trust" if param.name == "trust" else "fingerprints", value)

    policy = click.Choice(["btbv", "verified"])
    add_trust = click.option(
        "--trust", type=policy, expose_value=False, callback=note,
        help="`verified` takes keys that you have compared only; `btbv` new ones too, until one is verified.",
    )  # fmt: skip
    add_fingerprint = click.option(
        "--fingerprint", type=FINGERPRINT, multiple=True, metavar="HEX", expose_value=False, callback=note,
        help="Only the device with this key, which counts as verified; may be repeated.",
    )  # fmt: skip
    return add_trust(add_fingerprint(function))


def _global(*names: str, **attributes: Any) -> Callable[[_Decorated], _Decorated]:
    return click.option(*names, expose_value=False, callback=_note, **attributes)


_GLOBAL = (
    _global(
        "-a", "--account", metavar="NAME|JID", shell_complete=accounts, help="Use this account of the configuration."
    ),
    _global("-q", "--quiet", is_flag=True, help="Only errors and questions."),
    _global("-v", "--verbose", count=True, help="Tell paths and decisions; twice: stanzas, times and tracebacks too."),
    _global("--json", is_flag=True, help="Write events as JSON, one object a line, to standard output."),
    _global("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="When to use colour."),
    _global("--no-input", is_flag=True, help="Never ask, even on a terminal."),
    _global("--timeout", type=DURATION, metavar="DUR", help="How long an offer may wait (10m)."),
    _global("--config", type=FILE, metavar="FILE", help="Read this configuration file."),
    _global("--log-file", type=FILE, metavar="FILE", help="Write what -vv tells, with times, to the end of this file."),
)
_GLOBAL_NAMES = frozenset({"account", "quiet", "verbose", "json", "color", "no_input", "timeout", "config", "log_file"})


def _write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if not examples:
        return
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
    formatter.write_paragraph()


def hint_for(problem: click.ClickException) -> str:
    """Return what to type instead of a command line that click refuses."""
    if isinstance(problem, UnknownCommand):
        return f"did you mean jet {problem.nearest}?" if problem.nearest else "jet --help"
    if isinstance(problem, click.NoSuchOption) and problem.possibilities:
        return f"did you mean {sorted(problem.possibilities)[0]}?"
    ctx = problem.ctx if isinstance(problem, click.UsageError) else None
    return f"{ctx.command_path} --help" if ctx is not None else "jet --help"


def message_of(problem: click.ClickException) -> str:
    """Return what is wrong with a command line, without click's guesses."""
    return problem.message if isinstance(problem, click.NoSuchOption) else problem.format_message()
