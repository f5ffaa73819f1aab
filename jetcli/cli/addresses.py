"""Which words of a command line are files and which is the address; pure, so that a mistake costs no import.

As with scp the address comes last. A word with an @ is an address; any other may be an alias of the configuration.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jetcli.errors import UsageError
from jetcli.protocol.jid import Jid, parse_jid

SEND_HINT = "jet send FILE... JID"

#: Loads the aliases, only when a word needs them.
Aliases = Callable[[], Mapping[str, str]]


def peer_address(word: str, aliases: Aliases, *, hint: str = "") -> Jid:
    """Return the address that `word` spells or is the alias of; raise UsageError where it is neither."""
    text = word if "@" in word else aliases().get(word, "")
    try:
        jid = parse_jid(text)
    except ValueError:
        jid = Jid(None, "")
    if jid.local is None:
        from jetcli.protocol.policy import shown

        raise UsageError(f"'{shown(word)}' is not a valid address", hint=hint)
    return jid


def own_address(word: str) -> Jid:
    """Return the bare address of an account of ours; raise UsageError where `word` spells none."""
    jid = peer_address(word, dict)
    if jid.resource is not None:
        raise UsageError(f"'{jid}' names one device of an account", hint=f"jet login {jid.bare}")
    return jid


def files_and_address(words: Sequence[str], to: str | None, aliases: Aliases) -> tuple[tuple[Path, ...], Jid]:
    """Return the files to send and whom to; with `to`, every word is a file. Raises UsageError."""
    files = list(words)
    if to is None:
        if not files:
            raise UsageError("missing FILE and JID", hint=SEND_HINT)
        to = files.pop()
        jid = peer_address(to, aliases, hint=f"{SEND_HINT}, or jet send --to JID FILE...")
    else:
        jid = peer_address(to, aliases)
    if not files:
        raise UsageError("missing FILE", hint=SEND_HINT)
    if files.count("-") > 1:
        raise UsageError("standard input can be sent once", hint=SEND_HINT)
    return tuple(map(_path, files)), jid


def _path(word: str) -> Path:
    """Return the path that `word` means: "-" is standard input, and stays the only path that is written so."""
    path = Path(word)
    return path.absolute() if path == Path("-") and word != "-" else path


def allowed_senders(words: Sequence[str], aliases: Aliases) -> tuple[str, ...]:
    """Return the bare addresses that `--from` names, or "anyone" among them. Raises UsageError."""
    return tuple(word if word in {"anyone", "contacts"} else str(peer_address(word, aliases).bare) for word in words)
