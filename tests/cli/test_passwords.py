import io
import sys
from pathlib import Path

import pytest

from jetcli.cli import passwords
from jetcli.errors import SetupError


def test_the_first_source_that_has_one_gives_it():
    def untouched():
        raise AssertionError("a later source was asked")

    assert passwords.first_secret([lambda: None, lambda: "", lambda: "ro5e", untouched]) == "ro5e"


def test_nobody_has_one():
    assert passwords.first_secret([lambda: None]) is None


def test_a_command_prints_it_on_its_first_line():
    assert passwords.from_command([sys.executable, "-c", "print('ro5e'); print('more')"]) == "ro5e"


@pytest.mark.parametrize(
    "command",
    [["/nowhere/pass"], [sys.executable, "-c", "print('ro5e'); raise SystemExit(1)"], [sys.executable, "-c", ""]],
)
def test_a_command_that_fails_says_so_and_not_what_it_printed(command):
    with pytest.raises(SetupError, match="password command") as refused:
        passwords.from_command(command)
    assert "ro5e" not in str(refused.value)


def test_a_command_is_taken_apart_as_the_shell_would():
    assert passwords.command_words("pass show 'xmpp romeo'") == ["pass", "show", "xmpp romeo"]
    with pytest.raises(SetupError, match="unclosed quote"):
        passwords.command_words("pass 'show")


def test_a_file_that_others_can_read_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("ro5e\n")
    secret.chmod(0o640)
    with pytest.raises(SetupError, match="can be read by others") as refused:
        passwords.from_file(secret)
    assert refused.value.hint == f"chmod 600 {secret}"
    secret.chmod(0o600)
    assert passwords.from_file(secret) == "ro5e"


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SetupError, match=r"cannot read '.*/secret': no such file"):
        passwords.from_file(tmp_path / "secret")


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("ro5e\nmore\n"))
    assert passwords.from_file(Path("-")) == "ro5e"


@pytest.mark.parametrize("path", ["-", "secret"])
def test_what_is_no_text_is_refused_without_a_byte_of_it(tmp_path, monkeypatch, path):
    kept = tmp_path / "secret"
    kept.write_bytes(b"ro\xff5e\n")
    kept.chmod(0o600)
    with kept.open(encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SetupError) as refused:
            passwords.from_file(Path(path))
    assert refused.value.message == f"cannot read '{path}': not text"
