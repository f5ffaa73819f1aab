"""The commands that go on with what was interrupted, and those that move a file on request.

Reads the command line and hands over, like `jetcli.cli.main`.
"""

from typing import Any

import click

from jetcli.cli.grammar import (
    FILE,
    PATHS,
    SETTINGS,
    WAIT,
    JetCommand,
    global_options,
    rate_option,
    retry_option,
    trust_options,
)
from jetcli.cli.invocation import Invocation
from jetcli.cli.suggestions import contacts, transfers


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=(
        "jet resume                                      the only one there is, else a list",
        "jet resume k3v9",
        "jet resume --all",
        "jet resume --list",
        "jet resume --wait forever                       whenever the other side comes online",
    ),
)
@click.argument("words", nargs=-1, metavar="[ID|FILE]...", shell_complete=transfers)
@click.option("--all", "every", is_flag=True, help="Continue all that is unfinished, one after the other.")
@click.option("--list", "listing", is_flag=True, help="Show what is unfinished, and do nothing.")
@click.option("--forget", metavar="ID", shell_complete=transfers, help="Remove the part and the record of a transfer.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Save the one file under this name, beside its part.")
@click.option("--on-exist", type=click.Choice(["rename", "skip", "fail"]), help="What to do where the name is taken.")
@click.option("--adopt", is_flag=True, help="Take the part although it is another file than jet left, such as a copy.")
@click.option("--path", type=PATHS, help="How the bytes may travel; `relay` hides your address. Default: auto.")
@click.option(
    "--wait", type=WAIT, default="30s", metavar="DUR", help="Wait so long for the other side; or `forever`. (30s)"
)
@retry_option
@rate_option
@trust_options
@global_options
@click.pass_obj
def resume(invocation: Invocation, /, **chosen: Any) -> int:
    """Continue transfers that were interrupted, on either side, whichever is started.

    The rest comes from, or goes to, any jet of the same contact that knows the transfer. Only what was verified counts.
    """
    from jetcli.cli.resume import resume_command

    return resume_command(invocation, **chosen)


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=(
        "jet share notes.txt film.mkv                    contacts may ask for them while this runs",
        "jet share report.pdf --to juliet                only she may",
    ),
)
@click.argument("files", nargs=-1, type=FILE, metavar="FILE...")
@click.option("--to", metavar="JID", multiple=True, shell_complete=contacts, help="Only to JID; may be repeated.")
@click.option("--path", type=PATHS, help="How the bytes may travel; `relay` hides your address. Default: auto.")
@retry_option
@rate_option
@trust_options
@global_options
@click.pass_obj
def share(invocation: Invocation, /, **chosen: Any) -> int:
    """Answer `jet request` for these files, by name or SHA-256, until stopped.

    Without --to every contact may ask. Whoever may not gets the same answer as for a file that is not there.
    """
    from jetcli.cli.sharing import share_command

    return share_command(invocation, **chosen)


@click.command(
    cls=JetCommand,
    context_settings=SETTINGS,
    examples=("jet request notes.txt romeo@montague.example", "jet request SHA256 romeo -d ~/in"),
)
@click.argument("what", metavar="WHAT")
@click.argument("jid", metavar="JID", shell_complete=contacts)
@click.option("-d", "--dir", "directory", type=FILE, metavar="DIR", help="Save the file in this directory.")
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Save the file under this name; - is standard output.")
@click.option("--on-exist", type=click.Choice(["rename", "skip", "fail"]), help="What to do where the name is taken.")
@click.option("--path", type=PATHS, help="How the bytes may travel; `relay` hides your address. Default: auto.")
@retry_option
@rate_option
@trust_options
@global_options
@click.pass_obj
def request(invocation: Invocation, /, **chosen: Any) -> int:
    """Ask a contact for a file that it shares: WHAT is its name, or its SHA-256 in hex."""
    from jetcli.cli.sharing import request_command

    return request_command(invocation, **chosen)


COMMANDS = (resume, share, request)
