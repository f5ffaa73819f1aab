"""The commands of jet: what each takes, and the words of its help.

Reads the command line and hands over; what a command does is in `jetcli.cli.work`, loaded when it is done.
"""

from pathlib import Path
from typing import Any

import click

from jetcli import __version__
from jetcli.cli import continuing
from jetcli.cli.grammar import (
    DURATION,
    FILE,
    HOST_PORT,
    PATHS,
    SETTINGS,
    SIZE,
    WAIT,
    JetGroup,
    global_options,
    rate_option,
    retry_option,
    trust_options,
)
from jetcli.cli.invocation import Invocation
from jetcli.cli.suggestions import contacts, files_and_contacts
from jetcli.cli.upkeep import COMMANDS


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Print our version and those of the parts that decide what works, as one line a program can cut."""
    del param
    if not value or ctx.resilient_parsing:
        return
    import platform
    from importlib import metadata

    parts = [f"Python {platform.python_version()}"]
    parts += [f"{name} {metadata.version(name)}" for name in ("aioxmpp", "oldmemo", "cryptography")]
    print(f"jet {__version__} ({', '.join(parts)})")
    ctx.exit()


@click.group(
    cls=JetGroup,
    context_settings=SETTINGS,
    examples=(
        "jet login juliet@capulet.example                use an account",
        "jet send film.mkv notes.txt romeo@montague.example",
        "jet receive -d ~/Downloads                      wait for a file, ask before taking it",
        "jet caps romeo@montague.example                 what can his devices do?",
        "jet try                                         all of it on this machine, no account needed",
    ),
)
@global_options
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show versions.")
def jet() -> None:
    """Send files between two XMPP addresses, end-to-end encrypted."""


@jet.command(
    context_settings=SETTINGS,
    examples=(
        "jet send film.mkv juliet@capulet.example",
        "jet send *.jpg juliet                           an alias of the configuration",
        "jet send report.pdf juliet@capulet.example/jet.x9lm4q",
        "find . -name '*.log' | xargs jet send --to juliet",
        "pg_dump db | jet send - juliet --name db.sql    standard input, without a temporary file",
        "jet send photos juliet                          a directory, as photos.tar",
    ),
)
@click.argument("words", nargs=-1, metavar="FILE... JID", shell_complete=files_and_contacts)
@click.option("-t", "--to", metavar="JID", shell_complete=contacts, help="Send there; every argument is a file then.")
@click.option("-n", "--name", metavar="NAME", help="Offer the one file under this name.")
@click.option("--path", type=PATHS, help="How the bytes may travel; `relay` hides your address. Default: auto.")
@click.option(
    "--wait", type=WAIT, default=0.0, metavar="DUR", help="Wait so long for JID to come online; or `forever`."
)
@click.option("--size", type=SIZE, metavar="BYTES", help="So many bytes come from standard input.")
@click.option("--no-spool", is_flag=True, help="Fail rather than store standard input first, for who wants its size.")
@retry_option
@rate_option
@click.option("--checksum", is_flag=True, help="Send a SHA-256 of the file to another jet, too.")
@click.option("--dry-run", is_flag=True, help="Stop before the offer: say whether there is somebody who could take it.")
@trust_options
@global_options
@click.pass_obj
def send(invocation: Invocation, /, **chosen: Any) -> int:
    """Send files, directories (as a tar stream) or standard input (-) to JID, one after the other.

    JID is an address, an address with the resource of one device, or an alias of the configuration.
    """
    from jetcli.cli.work import send_command

    return send_command(invocation, **chosen)


@jet.command(
    context_settings=SETTINGS,
    examples=(
        "jet receive                                     one transfer, here, after a question",
        "jet receive -d ~/in --accept-all --forever      from contacts, without questions",
        "jet receive -o report.pdf --from juliet@capulet.example",
        "jet receive --stdout --accept-all | tar x       a stream, without a temporary file",
    ),
)
@click.option("--accept-all", is_flag=True, help="No questions: take what contacts and own devices offer.")
@click.option(
    "--from",
    "senders",
    envvar="JET_RECEIVE_FROM",
    metavar="JID",
    multiple=True,
    shell_complete=contacts,
    help="Only from this address; may be repeated. `contacts` are all of them, `anyone` lets strangers offer.",
)
@click.option(
    "-d", "--dir", "directory", envvar="JET_RECEIVE_DIR", type=FILE, metavar="DIR", help="Save files in this directory."
)
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Save the one file under this name; - is --stdout.")
@click.option("--stdout", is_flag=True, help="Write the one file's verified bytes to standard output.")
@click.option(
    "--unverified-stdout", is_flag=True, help="The same, and do not wait for the tag of clients other than jet."
)
@click.option("--extract", is_flag=True, help="Unpack a tar archive into a new directory.")
@click.option("--exec", "command", metavar="CMD", help="Run CMD for each file; JET_PATH and others tell of it.")
@click.option("--idle", type=DURATION, metavar="DUR", help="Leave when nothing came for so long.")
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="Leave after N commands of senders (1).")
@click.option("--forever", is_flag=True, help="Go on until interrupted.")
@click.option(
    "--on-exist",
    type=click.Choice(["ask", "rename", "overwrite", "skip", "fail"]),
    help="What to do where the name is taken. Default: ask on a terminal, else rename.",
)
@click.option("--max-size", type=SIZE, metavar="SIZE", help="Decline what is larger, for example 4G.")
@click.option("--allow-hidden", is_flag=True, help="Take names that start with a dot.")
@click.option("--keep-partial", is_flag=True, help="Keep the unverified part file of a transfer that broke.")
@click.option("--path", type=PATHS, help="How the bytes may travel; `relay` hides your address. Default: auto.")
@retry_option
@rate_option
@click.option("-0", "null", is_flag=True, help="End each path on standard output with NUL.")
@trust_options
@global_options
@click.pass_obj
def receive(invocation: Invocation, /, **chosen: Any) -> int:
    """Wait for files, and print the path of each one that is complete.

    On a terminal every offer is a question; --accept-all and --from answer it beforehand.
    """
    from jetcli.cli.work import receive_command

    return receive_command(invocation, **chosen)


@jet.command(
    context_settings=SETTINGS,
    examples=(
        "jet caps juliet@capulet.example",
        "jet caps                                        this machine, your other ones, and the server",
    ),
)
@click.argument("jid", metavar="[JID]", required=False, shell_complete=contacts)
@click.option("--raw", is_flag=True, help="Show what each device advertises, feature by feature.")
@global_options
@click.pass_obj
def caps(invocation: Invocation, jid: str | None, *, raw: bool) -> int:
    """Show what the devices of a contact can do; without JID, your own and your server.

    Ends with 0 if a file could be sent now, 7 if no device can take one, 6 if none is online.
    """
    from jetcli.cli.work import caps_command

    return caps_command(invocation, jid, raw=raw)


@jet.command(context_settings=SETTINGS, examples=("jet hello juliet@capulet.example",))
@click.argument("jid", metavar="JID", shell_complete=contacts)
@global_options
@click.pass_obj
def hello(invocation: Invocation, jid: str) -> int:
    """Write one visible, encrypted line to a contact.

    A client like Dino can send files to this device only after it has had a message or a file from it.
    """
    from jetcli.cli.work import hello_command

    return hello_command(invocation, jid)


@jet.command(
    context_settings=SETTINGS,
    examples=(
        "jet login juliet@capulet.example                asks for the password",
        "jet login juliet@capulet.example --password-command 'pass show xmpp/juliet'",
        "jet login juliet@capulet.example --register     make the account",
        "jet login --import-invite 'xmpp:juliet@capulet.example?register;preauth=...'",
    ),
)
@click.argument("jid", metavar="[JID]", required=False)
@click.option("--register", is_flag=True, help="Make the account on its server.")
@click.option("--import-invite", metavar="URI", help="Use an invitation (xmpp:...): to an account, or to a contact.")
@click.option("--password-command", metavar="CMD", help="A command that prints the password; run at each start.")
@click.option("--password-file", type=FILE, metavar="FILE", help="A private file that holds it; - is standard input.")
@click.option("--server", type=HOST_PORT, metavar="HOST:PORT", help="Connect there instead of asking the DNS.")
@click.option("--direct-tls", is_flag=True, help="Speak TLS from the first byte with --server, not STARTTLS.")
@click.option("--ca-file", type=FILE, metavar="FILE", help="Trust these certificate authorities for this account.")
@click.option("--pin", metavar="SHA256", help="Trust only a server key with this SPKI digest.")
@click.option("--allow-plain", is_flag=True, help="Send the password itself, where the server knows nothing better.")
@global_options
@click.pass_obj
def login(invocation: Invocation, /, **chosen: Any) -> int:
    """Use the account JID from now on.

    Checks the password with the server, and makes the encryption keys of this machine.
    """
    from jetcli.cli.login import login_command

    return login_command(invocation, **chosen)


@jet.command(
    "try",
    context_settings=SETTINGS,
    examples=("jet try", "jet try film.mkv", "jet try --cut 40", "jet try --shell"),
)
@click.argument("file", type=FILE, metavar="[FILE]", required=False)
@click.option("--shell", is_flag=True, help="Keep the server running and print two lines to try by hand.")
@click.option("--cut", type=click.IntRange(1, 99), metavar="PERCENT", help="Cut the line there, and see it go on.")
@global_options
@click.pass_obj
def try_(invocation: Invocation, file: Path | None, *, shell: bool, cut: int | None) -> int:
    """Send FILE (else 64 MB of random bytes) between two accounts of a server on this machine.

    Starts a Prosody of its own, runs a real receiver and a real sender, and looks for the file in all that went over
    the network. Leaves nothing behind.
    """
    from jetcli.cli.work import try_command

    return try_command(invocation, file, shell=shell, cut=cut)


for _command in (*continuing.COMMANDS, *COMMANDS):
    jet.add_command(_command)
