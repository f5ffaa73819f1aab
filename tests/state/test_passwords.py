import os
import stat
from pathlib import Path

import pytest

from jetcli.errors import SetupError
from jetcli.state.passwords import read_password, write_password
from jetcli.state.private import remove_private


@pytest.fixture
def file(directory: Path) -> Path:
    return directory / "password"


@pytest.mark.parametrize("umask", [0o000, 0o277])
def test_a_password_is_kept_for_its_owner_only(file: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_password(file, "pässword with  spaces ")
    finally:
        os.umask(before)
    assert read_password(file) == "pässword with  spaces "
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_new_password_replaces_the_old_one(file: Path) -> None:
    write_password(file, "old and longer")
    write_password(file, "new")
    assert read_password(file) == "new"
    assert [path.name for path in file.parent.iterdir()] == ["password"]


def test_no_file_is_no_password(file: Path) -> None:
    assert read_password(file) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_password_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    write_password(file, "secret")
    file.chmod(mode)
    with pytest.raises(SetupError, match="can be read by others") as caught:
        read_password(file)
    assert caught.value.hint == f"chmod 600 '{file}'"


@pytest.mark.parametrize("content", [b"", b"\nsecond line", b"hunter2\xff"])
def test_a_file_without_a_password_is_told_and_not_quoted(file: Path, content: bytes) -> None:
    write_password(file, "x")
    file.write_bytes(content)
    with pytest.raises(SetupError, match="holds no password") as caught:
        read_password(file)
    assert caught.value.__cause__ is None
    assert caught.value.hint == "jet login"


@pytest.mark.parametrize("password", ["", "two\nlines"])
def test_a_password_is_one_line(file: Path, password: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        write_password(file, password)
    assert not file.exists()


def test_a_password_can_be_removed_twice(file: Path) -> None:
    write_password(file, "x")
    remove_private(file)
    remove_private(file)
    assert read_password(file) is None


def test_a_password_file_that_cannot_be_used_is_told(file: Path) -> None:
    file.mkdir(parents=True, mode=0o700)
    with pytest.raises(SetupError, match="is a directory"):
        read_password(file)
    with pytest.raises(SetupError, match="is a directory"):
        remove_private(file)
