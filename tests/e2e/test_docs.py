"""The pages tell the truth: every example runs, every path exists, every picture is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jetcli.cli.main import jet as group

pytestmark = pytest.mark.matrix

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in ROOT.glob("*.md"))


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed, and an example uses it")
def test_every_example_of_the_readme_runs():
    done = subprocess.run(
        [ROOT / "docs/tour.sh"], env={"PATH": "/usr/bin:/bin:/usr/sbin", "PYTHON": sys.executable, "LANG": "C.UTF-8"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_refers_to_exists(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    named += re.findall(r"`((?:docs|tests|jetcli|man|completions)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_commands_and_options_that_there_are(page):
    text = page.read_text(encoding="utf-8")
    spelled = {found[1] for found in re.finditer(r"(?:`|^ {4}\$? ?|^)jet ([a-z]+)", text, re.MULTILINE)}
    known = {*group.commands, "recv", "rx", "tx"}
    assert spelled - known == set()


def test_the_pictures_call_nobody():
    for picture in ROOT.glob("docs/*.svg"):
        addresses = set(re.findall(r"https?://[^\"' <]+", picture.read_text(encoding="utf-8")))
        assert {address for address in addresses if "w3.org" not in address and "textualize" not in address} == set()
