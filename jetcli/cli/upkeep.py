"""The commands that look after an account: its keys, its state, its health, and what the shell knows of jet.

Reads the command line and hands over, like `jetcli.cli.main`, which has the commands that move files.
"""

from typing import Any

import click

from jetcli.cli.grammar import SETTINGS, JetCommand, global_options
from jetcli.cli.invocation import Invocation
from jetcli.cli.suggestions import accounts, contacts, topics


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=(
        "jet trust                                       your own fingerprint, for contacts to compare",
        "jet trust --qr                                  the same for a phone to scan",
        "jet trust juliet --verify                       compare hers, key by key",
        "jet trust juliet --add 'xmpp:juliet@capulet.example?omemo-sid-31337=...'",
    ),
)
@click.argument("jid", metavar="[JID]", required=False, shell_complete=contacts)
@click.option("--uri", is_flag=True, help="Print your own key as the address that OMEMO clients scan.")
@click.option("--qr", is_flag=True, help="Draw that address as a QR code.")
@click.option("--verify", is_flag=True, help="Ask about each key of JID whether you have compared it.")
@click.option("--add", metavar="FPR", multiple=True, help="Take this fingerprint (or xmpp: address) as verified.")
@click.option("--revoke", metavar="FPR", multiple=True, help="Never trust this fingerprint again.")
@global_options
@click.pass_obj
def trust(invocation: Invocation, /, **chosen: Any) -> int:
    """Show whose keys are trusted, and change it.

    Without JID: your own key. New keys of a contact are trusted until you have verified one of them; from then on a
    new key stops every transfer until you decide.
    """
    from jetcli.cli.trusting import trust_command

    return trust_command(invocation, **chosen)


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=("jet status                                      accounts, and what is unfinished", "jet status --all"),
)
@click.option("--all", "every", is_flag=True, help="Show finished transfers too.")
@global_options
@click.pass_obj
def status(invocation: Invocation, /, *, every: bool) -> int:
    """Show the accounts and the transfers that are unfinished."""
    from jetcli.cli.status import status_command

    return status_command(invocation, every=every)


@click.command(
    cls=JetCommand, context_settings=SETTINGS, examples=("jet doctor", "jet -a work doctor --json | jq .level")
)
@global_options
@click.pass_obj
def doctor(invocation: Invocation, /) -> int:
    """Check configuration, server, keys and paths, and say how to mend each.

    One line a check: ok, warn or FAIL. Ends with 0 where nothing failed, else with the code of the first failure.
    """
    from jetcli.cli.doctor import doctor_command

    return doctor_command(invocation)


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=(
        "jet logout                                      forget the password; the keys stay",
        "jet logout work --remove-device                 withdraw this machine, and delete its state",
    ),
)
@click.argument("jid", metavar="[NAME|JID]", required=False, shell_complete=accounts)
@click.option("--remove-device", is_flag=True, help="Withdraw this machine's key; delete keys and history.")
@global_options
@click.pass_obj
def logout(invocation: Invocation, /, *, jid: str | None, remove_device: bool) -> int:
    """Forget an account."""
    from jetcli.cli.logout import logout_command

    return logout_command(invocation, jid=jid, remove_device=remove_device)


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=(
        "jet completion bash > ~/.local/share/bash-completion/completions/jet",
        "jet completion zsh > ~/.zfunc/_jet               where ~/.zfunc is in fpath",
        "jet completion fish > ~/.config/fish/completions/jet.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@global_options
@click.pass_obj
def completion(invocation: Invocation, /, *, shell: str) -> int:
    """Print the completion script for a shell.

    It completes commands, options, files, aliases, contacts that jet has met, accounts, and transfers to continue.
    """
    from jetcli.cli.shells import SCRIPTS

    return invocation.print(SCRIPTS[shell])


@click.command(
    "help",
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=("jet help exit-codes", "jet help json", "jet help config", "jet help send"),
)
@click.argument("topic", metavar="[TOPIC|COMMAND]", required=False, shell_complete=topics)
@global_options
@click.pass_context
def help_(ctx: click.Context, /, *, topic: str | None) -> int:
    """Tell about a topic (exit-codes, json, config), or about a command."""
    invocation: Invocation = ctx.obj
    group = ctx.parent.command if ctx.parent is not None else None
    command = group.get_command(ctx, topic) if isinstance(group, click.Group) and topic else group
    if ctx.parent is not None and command is not None:
        context = ctx.parent if command is group else click.Context(command, info_name=topic, parent=ctx.parent)
        return invocation.print(f"{command.get_help(context)}\n")
    from jetcli.cli.topics import help_text

    return invocation.print(help_text(topic))


COMMANDS = (logout, trust, status, doctor, completion, help_)
