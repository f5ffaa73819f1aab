"""The file where login keeps an account's SCRAM keys instead of its password: a JSON document, mode 0600.

It has a name of its own, so that no version of jet takes it for a password.
"""

import base64
import json
from pathlib import Path

from jetcli.errors import SetupError
from jetcli.protocol.scram import ScramKeys
from jetcli.state.private import private_directory, refuse_shared, replace_private, unusable

_FORMAT = "jet SCRAM keys, 1"


def read_keys(path: Path) -> ScramKeys | None:
    """Return the keys that login kept in `path`, or None where there is no such file.

    Raises SetupError where others can read the file, or where it holds no keys.
    """
    refuse_shared(path)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unusable(path, error) from error
    try:
        return _parsed(text)
    except (ValueError, KeyError, TypeError):
        raise SetupError(f"'{path}' holds no SCRAM keys", hint="jet login") from None  # the cause might quote them


def write_keys(path: Path, keys: ScramKeys) -> None:
    """Keep `keys` in `path`; the directory is private too. Raises SetupError."""
    document = {
        "format": _FORMAT,
        "hash": keys.hash_name,
        "iterations": keys.iterations,
        **{name: base64.b64encode(getattr(keys, name)).decode() for name in ("salt", "client_key", "server_key")},
    }
    private_directory(path.parent)
    replace_private(path, f"{json.dumps(document, indent=2)}\n".encode())


def _parsed(text: bytes) -> ScramKeys:
    document = json.loads(text)
    if document["format"] != _FORMAT or type(document["iterations"]) is not int:
        raise ValueError("not the format")
    salt, client_key, server_key = (
        base64.b64decode(document[name], validate=True) for name in ("salt", "client_key", "server_key")
    )
    return ScramKeys(document["hash"], salt, document["iterations"], client_key, server_key)
