"""The system's keyring may be broken in any way: a plug-in talks to some other program."""

from types import SimpleNamespace

import pytest

from jetcli.cli import keychain


@pytest.fixture
def broken(monkeypatch):
    """A keyring whose program has gone away."""

    def fails(*_words):
        raise RuntimeError("org.freedesktop.DBus.Error.ServiceUnknown")

    keyring = SimpleNamespace(get_password=fails, set_password=fails, delete_password=fails)
    monkeypatch.setattr(keychain, "_keyring", lambda: keyring)


@pytest.mark.usefixtures("broken")
def test_a_keyring_that_breaks_is_one_that_has_and_keeps_nothing():
    assert keychain.load("romeo@montague.example") is None
    assert keychain.keep("romeo@montague.example", "ro5e") is False
    keychain.forget("romeo@montague.example")
