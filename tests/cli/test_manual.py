"""What is generated has not drifted from what it is generated from."""

import re
import shutil
import subprocess
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


def test_every_command_has_a_page_with_all_its_options():
    pages = {name: text.replace("\\-", "-") for name, text in manual.documents().items()}
    for name, command in jet.commands.items():
        assert f"jet-{name}(1)" in pages["man/jet.1"]
        spellings = [each for param in command.params for each in param.opts if each.startswith("-")]
        text = pages["man/jet.1"] + pages[f"man/jet-{name}.1"]
        assert all(spelling in text for spelling in spellings)


def test_every_exit_code_has_a_meaning():
    codes = manual.exit_codes()
    assert set(codes) == {0, *range(1, 16), 130, 141, 143}
    assert all(codes.values())
    assert codes[errors.IntegrityError.exit_code].startswith("integrity: ")


def test_the_exit_codes_of_the_page_are_those_of_the_program():
    page = (ROOT / "man/jet.1").read_text(encoding="utf-8").replace("\\-", "-")
    section = page.partition(".SH EXIT STATUS\n")[2].partition("\n.SH")[0]
    read_back = {int(code): text for code, text in re.findall(r"\.TP\n\.B (\d+)\n(.*)", section)}
    assert {code: text.partition(":")[0] for code, text in read_back.items() if 0 < code < 16} == {
        error.exit_code: error.code for error in (errors.JetError, *errors.JetError.__subclasses__())
    }
    assert set(read_back) - set(range(1, 16)) == {0, 130, 141, 143}


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
@pytest.mark.parametrize("name", sorted(name for name in manual.documents() if name.startswith("man/")))
def test_man_has_nothing_to_complain_about(name):
    done = subprocess.run(
        ["man", "--warnings", "-l", str(ROOT / name)], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    assert "NAME" in done.stdout


def test_everything_is_written_where_it_belongs(tmp_path):
    for directory in ("man", "completions"):
        (tmp_path / directory).mkdir()
    (tmp_path / "ARCHITECTURE.md").write_text(f"# A\n{manual.BEGIN}\nold\n{manual.END}\nmore\n")
    manual.write(tmp_path)
    assert (tmp_path / "man/jet.1").read_text() == manual.documents()["man/jet.1"]
    assert "old" not in (tmp_path / "ARCHITECTURE.md").read_text()
