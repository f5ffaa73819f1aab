"""Which boot of the machine this is."""

import subprocess
from pathlib import Path

import pytest

from jetcli.files import boot


@pytest.fixture
def without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(boot, "_LINUX", tmp_path / "missing")


def answering(text: str):
    return lambda *args, **kwargs: subprocess.CompletedProcess(args, 0, stdout=text)


@pytest.mark.skipif(not Path("/proc/sys/kernel/random/boot_id").exists(), reason="only Linux tells it so")
def test_the_boot_keeps_its_id():
    assert boot.boot_id()
    assert boot.boot_id() == boot.boot_id()


def test_another_boot_has_another_id(monkeypatch, tmp_path):
    monkeypatch.setattr(boot, "_LINUX", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_text("one\n")
    assert boot.boot_id() == "one"
    (tmp_path / "boot_id").write_text("two\n")
    assert boot.boot_id() == "two"


def test_without_proc_the_boot_time_is_the_id(without_proc, monkeypatch):
    answer = "{ sec = 1795316246, usec = 7 } Sun Nov 22 03:37:26 2026\n"
    monkeypatch.setattr(boot.subprocess, "run", answering(answer))
    assert boot.boot_id() == "boottime-1795316246"


def test_an_unknown_boot_is_none(without_proc, monkeypatch, tmp_path):
    monkeypatch.setattr(boot, "_SYSCTL", str(tmp_path / "missing"))
    assert boot.boot_id() is None
    monkeypatch.setattr(boot.subprocess, "run", answering("unintelligible"))
    assert boot.boot_id() is None
