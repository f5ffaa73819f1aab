"""The script that installs what some tests run beside jet, with commands that only write down how they were called."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "tools"


@pytest.fixture
def run(tmp_path):
    """Run the script where these commands are there: name and what they do; return what it said and what it called."""
    commands, calls = tmp_path / "commands", tmp_path / "calls"
    commands.mkdir()
    for name in ("bash", "env", "timeout"):
        os.symlink(shutil.which(name), commands / name)

    def tools(**there: str) -> tuple[str, list[str]]:
        calls.write_text("")
        for name, script in there.items():
            file = commands / name.replace("_", "-")
            file.write_text(f'#!/usr/bin/env bash\necho "{file.name} $*" >>"{calls}"\n{script}\n')
            file.chmod(0o755)
        done = subprocess.run(
            [commands / "bash", SCRIPT], env={"PATH": str(commands)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
        return done.stderr, [call for call in calls.read_text().splitlines() if not call.startswith("id ")]

    return tools


def test_where_all_is_there_nothing_is_called(run):
    assert run(id="echo 0", apt_get="exit 9", zsh="", fish="", man="", jq="", strace="") == ("", [])


def test_root_gets_what_is_missing_and_no_more(run):
    said, calls = run(id="echo 0", apt_get="", zsh="", jq="", strace="")
    assert calls == ["apt-get update -q", "apt-get install -y -q --no-install-recommends fish man-db"]
    assert said == ".ci/tools: their tests will be skipped: fish man-db\n"


@pytest.mark.parametrize("there", [{"id": "echo 1000", "apt_get": ""}, {"id": "echo 0"}], ids=["nobody", "no apt-get"])
def test_who_cannot_install_is_told_what_will_be_skipped(run, there):
    assert run(**there) == (".ci/tools: their tests will be skipped: zsh fish man-db jq strace\n", [])


def test_an_install_that_fails_stops_nothing(run):
    said, _calls = run(id="echo 0", apt_get="exit 100")
    assert said == ".ci/tools: their tests will be skipped: zsh fish man-db jq strace\n"
