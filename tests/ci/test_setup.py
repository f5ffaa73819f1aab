"""The set-up script, with commands that only write down how they were called."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REAL = ("bash", "cat", "chmod", "cksum", "cp", "dirname", "grep", "mkdir", "sed")

#: Says yes to every question about its version, and makes an environment of itself.
PYTHON = """
case "$*" in
*"-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "$PWD/.venv/bin" > .venv/bin/pip ;;
*"pip install"*) echo > .venv/bin/jet; chmod +x .venv/bin/jet ;;
esac
"""


@dataclass
class Machine:
    """A machine with the commands in `commands`; what is called there is written to `calls`."""

    project: Path
    commands: Path
    calls_file: Path

    def has(self, name: str, script: str = "") -> None:
        file = self.commands / name
        file.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"{self.calls_file}"\n{script}\n')
        file.chmod(0o755)

    def set_up(self) -> subprocess.CompletedProcess:
        self.calls_file.write_text("")
        return subprocess.run(
            ["bash", ".ci/setup"],
            cwd=self.project,
            env={"PATH": str(self.commands), "HOME": str(self.project)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def machine(tmp_path):
    """A Debian without Prosody, used by somebody who is not root."""
    if shutil.which("prosody", path="/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/local/bin"):
        pytest.skip("this system keeps Prosody where the script always looks")
    project, commands = tmp_path / "project", tmp_path / "commands"
    (project / ".ci").mkdir(parents=True)
    commands.mkdir()
    shutil.copy(ROOT / ".ci" / "setup", project / ".ci" / "setup")
    shutil.copy(ROOT / "pyproject.toml", project / "pyproject.toml")
    for name in (*REAL, "env"):
        os.symlink(shutil.which(name), commands / name)
    made = Machine(project, commands, tmp_path / "calls")
    made.has("python3.11", PYTHON)
    made.has("dpkg", "exit 1")
    made.has("apt-get")
    made.has("id", "echo 1000")
    return made


def test_without_root_and_sudo_it_prints_the_one_command_and_exits_3(machine):
    done = machine.set_up()
    assert done.returncode == 3
    assert "please run as root: apt-get install -y prosody lua-unbound" in done.stderr
    assert not any(call.startswith("apt-get") for call in machine.calls)
    assert not (machine.project / ".venv").exists()


def test_sudo_is_used_after_saying_so(machine):
    machine.has("sudo")
    done = machine.set_up()
    assert done.returncode == 0
    assert "installing with sudo: prosody lua-unbound" in done.stderr
    assert "sudo bash .ci/setup --as-root prosody lua-unbound" in machine.calls


def test_a_sudo_that_refuses_ends_like_none(machine):
    machine.has("sudo", "exit 1")
    done = machine.set_up()
    assert done.returncode == 3
    assert "please run as root: apt-get install -y prosody lua-unbound" in done.stderr


def test_what_is_there_is_not_installed_again(machine):
    machine.has("prosody", "exit 99")
    machine.has("dpkg")
    assert machine.set_up().returncode == 0
    assert not any(call.startswith(("apt-get", "sudo", "prosody")) for call in machine.calls)


def test_a_second_run_does_nothing(machine):
    machine.has("prosody", "exit 99")
    machine.has("dpkg")
    assert machine.set_up().returncode == 0
    assert machine.set_up().returncode == 0
    assert machine.calls == []


def test_a_changed_project_is_installed_again(machine):
    machine.has("prosody", "exit 99")
    machine.has("dpkg")
    machine.set_up()
    with (machine.project / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    machine.set_up()
    assert any("pip install" in call for call in machine.calls)


def test_a_python_without_its_venv_module_gets_it(machine):
    # The question about the module is the one that imports ensurepip.
    machine.has("python3.11", 'case "$*" in *ensurepip*) exit 1 ;; *print*) echo python3.11-venv ;; esac')
    done = machine.set_up()
    assert done.returncode == 3
    assert "apt-get install -y prosody lua-unbound python3.11-venv" in done.stderr


def test_a_python_that_is_too_old_is_refused(machine):
    machine.has("python3.11", "exit 1")
    machine.has("sudo")
    done = machine.set_up()
    assert done.returncode == 3
    assert "Python 3.11 or newer is needed" in done.stderr


def test_a_system_without_apt_and_brew_is_refused(machine):
    (machine.commands / "apt-get").unlink()
    (machine.commands / "dpkg").unlink()
    done = machine.set_up()
    assert done.returncode == 3
    assert "apt-get (Debian 12, 13, Ubuntu 24.04) and brew (macOS) only" in done.stderr
