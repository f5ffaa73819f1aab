"""The system's keyring, where the extra `jetcli[keyring]` is installed and there is one; silence where there is not.

A keyring that is locked, missing or broken is no failure of jet: the next source of a password is asked.
"""

import logging
from typing import Any

SERVICE = "jet"

_log = logging.getLogger(__name__)


def load(jid: str) -> str | None:
    """Return the password that the keyring holds for `jid` (bare), or None."""
    keyring = _keyring()
    if keyring is None:
        return None
    try:
        password = keyring.get_password(SERVICE, jid)
    except Exception as problem:  # noqa: BLE001 as in _keyring
        _log.info("the keyring gave nothing: %s", type(problem).__name__)
        return None
    return str(password) if password else None


def keep(jid: str, password: str) -> bool:
    """Put the password of `jid` into the keyring; return False where that cannot be."""
    keyring = _keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(SERVICE, jid, password)
        return bool(keyring.get_password(SERVICE, jid) == password)
    except Exception as problem:  # noqa: BLE001 as in _keyring
        _log.info("the keyring took nothing: %s", type(problem).__name__)
        return False


def forget(jid: str) -> None:
    """Take the password of `jid` out of the keyring, where there is one."""
    keyring = _keyring()
    if keyring is None:
        return
    try:
        keyring.delete_password(SERVICE, jid)
    except Exception as problem:  # noqa: BLE001 as in _keyring
        _log.info("the keyring forgot nothing: %s", type(problem).__name__)


def _keyring() -> Any:
    """Return the module with a backend that can keep something, or None."""
    try:
        import keyring
        import keyring.backends.fail
    except ImportError:
        return None
    try:
        backend = keyring.get_keyring()
    # Backends are plug-ins that talk to other programs: whatever fails there, jet has other sources.
    except Exception as problem:  # noqa: BLE001
        _log.info("no keyring: %s", type(problem).__name__)
        return None
    return None if isinstance(backend, keyring.backends.fail.Keyring) else keyring
