"""What is built contains what it promises, and pip can install it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from jetcli import __version__
from jetcli.cli.manual import documents

ROOT = Path(__file__).parents[2]
SHARED = {
    "completions/jet.bash": "share/bash-completion/completions/jet",
    "completions/_jet": "share/zsh/site-functions/_jet",
    "completions/jet.fish": "share/fish/vendor_completions.d/jet.fish",
}


def shared(name):
    return SHARED.get(name, f"share/man/man1/{Path(name).name}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist and the wheel."""
    place = tmp_path_factory.mktemp("dist")
    for target in ("sdist", "wheel"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(place)],
            cwd=ROOT, check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    return next(place.glob("*.tar.gz")), next(place.glob("*.whl"))


def test_the_sdist_has_all_that_it_takes_to_build_and_test(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "SECURITY.md", "Makefile", ".ci/setup", "tests/conftest.py"}
    assert wanted | set(documents()) <= names


def test_the_wheel_has_pages_completions_and_the_schema(built):
    names = zipfile.ZipFile(built[1]).namelist()
    data = f"jetcli-{__version__}.data/data/"
    assert "jetcli/cli/events.schema.json" in names
    assert "jetcli/trial/lua/mod_jet_trial.lua" in names
    assert {f"{data}{shared(name)}" for name in documents()} <= set(names)
    assert not [name for name in names if name.startswith("tests/")]


def test_pip_installs_it(built, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--prefix", str(tmp_path),
         "--ignore-installed", "--disable-pip-version-check", str(built[1])],
        check=True, timeout=120,
    )  # fmt: skip
    assert (tmp_path / "bin" / "jet").exists()
    assert all((tmp_path / shared(name)).exists() for name in documents())
    packages = next(tmp_path.glob("lib/python*/site-packages"))
    done = subprocess.run(
        [sys.executable, "-c", "import jetcli; print(jetcli.__file__); from jetcli.cli import run; run()", "--version"],
        env={"PYTHONPATH": str(packages), "PATH": ""}, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    where, version = done.stdout.splitlines()
    assert where.startswith(str(tmp_path))
    assert version.startswith(f"jet {__version__} (Python ")
    assert all(f" {part} " in version for part in ("aioxmpp", "oldmemo", "cryptography"))
