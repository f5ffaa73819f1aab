"""What is generated has not drifted from what it is generated from."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jetcli import errors
from jetcli.cli import manual
from jetcli.cli.main import jet
from jetcli.protocol.table import PATH_TABLE, SESSION_TABLE

ROOT = Path(__file__).parents[2]
REFRESH = "write it anew with: python -m jetcli.cli.manual"


@pytest.mark.parametrize("name", sorted(manual.documents()))
def test_a_generated_file_is_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == manual.documents()[name], REFRESH


def test_the_session_diagram_is_up_to_date():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert manual.with_diagram(page) == page, REFRESH


def test_the_diagram_shows_every_transition():
    diagram = manual.session_diagram()
    for state, turn in [*SESSION_TABLE, *PATH_TABLE]:
        lines = [line for line in diagram.splitlines() if line.strip().startswith(f"{state.value} -->")]
        assert any(turn.value in line for line in lines)


def test_a_page_without_a_place_for_the_diagram_is_refused():
    with pytest.raises(ValueError, match="no place"):
        manual.with_diagram("# Architecture")


def test_every_command_and_option_is_in_the_manual():
    page = manual.documents()["man/jet.1"].replace("\\-", "-")
    for name, command in jet.commands.items():
        assert f".SS jet {name}\n" in page
        assert all(spelling in page for param in command.params for spelling in param.opts if spelling.startswith("-"))


def test_every_exit_code_has_a_meaning():
    codes = manual.exit_codes()
    assert set(codes) == {0, *range(1, 16), 130, 141, 143}
    assert all(codes.values())
    assert codes[errors.IntegrityError.exit_code].startswith("integrity: ")


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_has_nothing_to_complain_about():
    done = subprocess.run(
        ["man", "--warnings", "-l", str(ROOT / "man/jet.1")], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""


def test_everything_is_written_where_it_belongs(tmp_path):
    for directory in ("man", "completions"):
        (tmp_path / directory).mkdir()
    (tmp_path / "ARCHITECTURE.md").write_text(f"# A\n{manual.BEGIN}\nold\n{manual.END}\nmore\n")
    manual.write(tmp_path)
    assert (tmp_path / "man/jet.1").read_text() == manual.documents()["man/jet.1"]
    assert "old" not in (tmp_path / "ARCHITECTURE.md").read_text()


@pytest.fixture
def shell(environment, account, tmp_path):
    """Run a shell that finds this jet under its name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "jet").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jetcli "$@"\n')
    (programs / "jet").chmod(0o755)

    def run(name, script):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        done = subprocess.run(
            [name, "-c", script],
            env=environment | {"PATH": f"{programs}:{environment['PATH']}"},
            cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout.split()

    return run


CASES = [
    (["jet", "rec"], "receive"),
    (["jet", "send", "--pa"], "--path"),
    (["jet", "send", "--path", "rel"], "relay"),
    (["jet", "caps", "jul"], "juliet"),
    (["jet", "send", "film.mkv", "nur"], "nurse"),
]


@pytest.mark.parametrize(("words", "completed"), CASES)
def test_bash_completes(shell, words, completed):
    script = f"source {ROOT}/completions/jet.bash; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}"
    assert shell("bash", f"{script}; _jet jet; echo ${{COMPREPLY[@]}}") == [completed]


@pytest.mark.parametrize(("words", "completed"), CASES)
def test_fish_completes(shell, words, completed):
    assert shell("fish", f"source {ROOT}/completions/jet.fish; complete -C '{' '.join(words)}'")[0] == completed


def test_zsh_can_read_its_script(shell):
    assert shell("zsh", f"zsh -n {ROOT}/completions/_jet && echo read") == ["read"]
