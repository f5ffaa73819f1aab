"""The commands that look after an account: its keys, its state, its health, and what the shell knows of jet.

Reads the command line and hands over, like `jetcli.cli.main`, which has the commands that move files.
"""

from typing import Any

import click

from jetcli.cli.grammar import SETTINGS, JetCommand, global_options
from jetcli.cli.invocation import Invocation
from jetcli.cli.suggestions import contacts


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


COMMANDS = (trust,)
