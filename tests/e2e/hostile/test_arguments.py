"""Words and files that a command must refuse before it calls anybody; the process has no server to talk to."""

import os
import socket

import pytest

#: Root reads every file, unless it goes without the capabilities that let it.
UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()


@pytest.fixture
def refused(jet, home):
    """Run `jet` with these words; insist on the exit code, on one error line that holds `line`, and on the hint."""
    somebody = home("somebody", address="127.0.0.1:1")

    def run(*words, code: int, line: str, hint: str = "") -> None:
        before = sorted(somebody.files.rglob("*"))
        process = jet(somebody, *words, prefix=UNPRIVILEGED).finished()
        assert process.code == code, process
        assert process.stdout == ""
        errors = [said for said in process.stderr.splitlines() if said.startswith("jet: error: ")]
        assert len(errors) == 1, process
        assert line in errors[0], process
        assert f"jet: hint: {hint}" in process.stderr or not hint, process
        assert "Traceback" not in process.stderr
        assert sorted(somebody.files.rglob("*")) == before

    run.files, run.home = somebody.files, somebody
    return run


def test_a_send_without_a_file_is_a_usage_error(refused):
    refused("send", "bob@example.org", code=2, line="missing FILE", hint="jet send FILE... JID")


@pytest.mark.parametrize("words", ["@x", "a@b@c", "not a jid", "bob@", "bob@ex.org/\u202e"])
def test_a_last_word_that_is_no_address_is_a_usage_error(refused, words):
    (refused.files / "f").write_text("f")
    shown = words.replace("\u202e", "\\u202e")
    refused("send", "f", words, code=2, line=f"'{shown}' is not a valid address")


def test_a_missing_file_is_named(refused):
    refused("send", "missing.bin", "bob@ex.org", code=13, line="cannot read 'missing.bin': no such file")


def test_a_device_is_no_file(refused):
    refused("send", "/dev/zero", "bob@ex.org", code=13, line="'/dev/zero' is not a regular file", hint="jet send - ")


def test_a_pipe_is_no_file_and_is_not_waited_for(refused):
    os.mkfifo(refused.files / "pipe")
    refused("send", "pipe", "bob@ex.org", code=13, line="'pipe' is not a regular file", hint="jet send - ")


def test_a_socket_is_no_file(refused, monkeypatch):
    monkeypatch.chdir(refused.files)  # the path of a socket may have 107 characters
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        refused("send", "socket", "bob@ex.org", code=13, line="'socket' is not a regular file", hint="jet send - ")


def test_a_file_without_permission_is_named(refused):
    (refused.files / "x").touch(mode=0o000)
    refused("send", "x", "bob@ex.org", code=13, line="cannot read 'x': permission denied")


def test_a_configuration_with_a_password_that_others_can_read_is_not_used(refused):
    config = refused.home.path / "config.toml"
    config.write_text(config.read_text().replace("jid =", 'password = "ro5e"\njid =', 1))
    config.chmod(0o644)
    line, hint = f"'{config}' can be read by others", f"chmod 600 '{config}'"
    refused("send", "/etc/hostname", "bob@ex.org", code=3, line=line, hint=hint)


def test_damaged_state_is_named_and_left_as_it_is(refused, jet):
    state = refused.home.path / "state" / refused.home.jid
    jet(refused.home, "resume", "--list").finished()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = state / "state.db"
    database.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    database.chmod(0o600)
    before = database.read_bytes()
    for words in (["resume", "k3v9"], ["status"], ["trust", "bob@ex.org"], ["send", "/etc/hostname", "bob@ex.org"]):
        refused(*words, code=3, line=f"the state in '{database}' is damaged")
    assert database.read_bytes() == before


def test_a_transfer_that_nobody_knows_is_a_usage_error(refused):
    refused("resume", "nosuch", code=2, line="no transfer 'nosuch'")
