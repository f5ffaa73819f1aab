"""The edge: exit codes, error lines, what is loaded."""

import json
import subprocess
import sys

import pytest

from jetcli.errors import LocalFileError


@pytest.mark.parametrize(
    ("arguments", "line", "hint"),
    [
        (["send", "bob@example.org"], "missing FILE", "jet send FILE... JID"),
        (["send"], "missing FILE and JID", "jet send FILE... JID"),
        (["send", "f", "@x"], "'@x' is not a valid address", "jet send FILE... JID"),
        (["send", "f", "a@b@c"], "'a@b@c' is not a valid address", "jet send FILE... JID"),
        (["send", "f", "not a jid"], "'not a jid' is not a valid address", "jet send FILE... JID"),
        (["send", "f", "bob\x1b[2J@x.org"], r"'bob\x1b[2J@x.org' is not a valid address", "jet send FILE... JID"),
        (["send", "f", "montague.example"], "'montague.example' is not a valid address", "jet send FILE... JID"),
        (["send", "-n", "x", "f", "g", "a@b.org"], "--name is for a single file", None),
        (["send", "-", "-", "a@b.org"], "standard input can be sent once", "jet send FILE... JID"),
        (["send", "--size", "4", "f", "a@b.org"], "--size is for standard input", "jet send - --size BYTES JID"),
        (["receive", "--stdout", "--accept-all", "-d", "."], "--stdout saves no file", None),
        (
            ["receive", "--stdout", "--extract", "--accept-all"],
            "--stdout unpacks nothing",
            "jet receive --stdout | tar x",
        ),
        (
            ["receive", "-o", "-", "--extract", "--accept-all"],
            "--stdout unpacks nothing",
            "jet receive --stdout | tar x",
        ),
        (["receive", "--accept-all", "--exec", "'"], "--exec: no closing quotation", None),
        (["send", "--path", "air", "f", "a@b.org"], "invalid value for '--path'", "jet send --help"),
        (["sned", "f", "a@b.org"], "no such command 'sned'", "did you mean jet send?"),
        (["frobnicate"], "no such command 'frobnicate'", "jet --help"),
        (["send", "--nmae", "x"], "no such option '--nmae'", "did you mean --name?"),
        (["hello"], "missing argument 'JID'", "jet hello --help"),
        (["send", "--limit-rate", "0", "f", "a@b.org"], "invalid value for '--limit-rate'", "jet send --help"),
        (["receive"], "nobody is there to be asked", "jet receive --accept-all, or --from JID"),
        (["receive", "--accept-all", "--from", "x y"], "'x y' is not a valid address", None),
        (["receive", "--accept-all", "--forever", "-n", "2"], "--forever and --count exclude each other", None),
        (["receive", "--accept-all", "-o", "f", "-d", "."], "-o names a file and -d a directory: give one of", None),
        (["receive", "--accept-all", "-o", "f", "-n", "2"], "-o is for a single file", "-d DIR"),
        (["receive", "--accept-all", "-o", "."], "'.' is a directory", "-d ."),
        (["receive", "--accept-all", "--max-size", "big"], "invalid value for '--max-size'", "jet receive --help"),
        (["login", "romeo@montague.example/balcony"], "'romeo@montague.example/balcony' names one device", None),
    ],
)
def test_a_wrong_command_line_is_one_line_a_hint_and_exit_2(jet_here, arguments, line, hint):
    ended = jet_here(*arguments)
    first, *rest = ended.err.splitlines()
    assert ended.code == 2
    assert first.startswith(f"jet: error: {line}")
    assert ended.out == ""
    assert len(rest) <= 1
    if hint is not None:
        assert rest[0].startswith(f"jet: hint: {hint}")


@pytest.mark.parametrize("broken", ["missing.bin", "/dev/zero"])
def test_a_file_that_cannot_be_sent_is_found_before_anybody_is_called(jet_here, source, broken):
    ended = jet_here("send", source, broken, "bob@example.org")
    assert ended.code == 13
    assert "jet: error: " in ended.err


def test_what_cannot_be_shared_is_found_before_anybody_is_called(jet_here, source, tmp_path):
    (tmp_path / "some films").mkdir()
    ended = jet_here("share", source, tmp_path / "some films")
    assert ended.code == 13
    assert ended.err.splitlines() == [
        f"jet: error: '{tmp_path}/some films' is a directory, and only files can be shared",
        f"jet: hint: jet share '{tmp_path}/some films'/*",
    ]
    assert jet_here("share", "-").err.startswith("jet: error: cannot read '-': no such file")


def test_there_is_no_account_yet(jet_here, source):
    ended = jet_here("send", source, "bob@example.org")
    assert (ended.code, ended.err) == (3, "jet: error: there is no account\njet: hint: jet login JID\n")


def test_a_usage_error_ends_with_a_result_for_programs_too(jet_here):
    ended = jet_here("send", "bob@example.org", "--json")
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert [line["type"] for line in told] == ["error", "result"]
    assert told[0]["code"] == "usage"
    assert told[-1]["exit"] == ended.code == 2


def test_without_a_command_there_is_help_on_standard_error(jet_here):
    ended = jet_here()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("Examples:\n  jet ")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["send", "--help"], ["receive", "-h"], ["rx", "--help"]])
def test_help_starts_with_examples(jet_here, arguments):
    ended = jet_here(*arguments)
    assert ended.code == 0
    assert ended.out.startswith("Examples:\n  jet ")
    assert "Usage: jet" in ended.out


def test_hidden_aliases_are_in_no_list(jet_here):
    assert not {"recv", "rx", "tx"} & set(jet_here("--help").out.split())


def test_a_bug_is_one_line_and_its_traceback_is_for_those_who_ask(jet_here, monkeypatch, account, source):
    def broken(*_args):
        raise ValueError("no\x1bsuch")

    monkeypatch.setattr("jetcli.cli.work.check_sources", broken)
    ended = jet_here("send", source, "bob@example.org")
    assert ended.code == 1
    assert ended.err.startswith("jet: error: ValueError: ")
    assert "Traceback" not in ended.err
    assert "\x1b" not in ended.err
    told = jet_here("-vv", "send", source, "bob@example.org").err
    assert "Traceback" in told
    assert "\x1b" not in told


def test_an_expected_failure_has_no_traceback_without_vv(jet_here, monkeypatch, source):
    def broken(*_args):
        raise LocalFileError("the disk is on fire")

    monkeypatch.setattr("jetcli.cli.work.check_sources", broken)
    assert jet_here("-v", "send", source, "bob@example.org").err == "jet: error: the disk is on fire\n"


def test_the_version_is_printed(jet_process):
    done = jet_process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("jet 0.")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["send", "--help"], ["send", "f", "@x"], ["sned"], ["send", "missing", "bob@example.org"]],
)
def test_help_and_usage_errors_load_nothing_heavy(environment, tmp_path, arguments):
    program = (
        "import sys, os\nfrom jetcli.cli import perform\nfrom jetcli.cli.signals import Interruption\n"
        "perform(sys.argv[1:], Interruption())\n"
        "heavy = {'aioxmpp', 'omemo', 'rich', 'asyncio', 'cryptography', 'sqlite3'} & set(sys.modules)\n"
        "print('LOADED', *sorted(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_the_password_of_the_environment_is_taken_out_of_it(jet_here, monkeypatch):
    import os

    monkeypatch.setenv("JET_PASSWORD", "ro5e")
    jet_here("--version")
    assert "JET_PASSWORD" not in os.environ


def test_no_module_of_the_command_line_is_long(python_files):
    assert all(len(file.read_text().splitlines()) < 400 for file in python_files)
