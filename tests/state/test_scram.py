import json
import os
import stat
from pathlib import Path

import pytest

from jetcli.errors import SetupError
from jetcli.protocol.scram import ScramKeys
from jetcli.state.scram import read_keys, write_keys

KEYS = ScramKeys.derive("SHA-256", b"pencil", b"salt", 4096)


@pytest.fixture
def file(directory: Path) -> Path:
    return directory / "scram.json"


@pytest.mark.parametrize("umask", [0o000, 0o277])
@pytest.mark.parametrize("hash_name", ["SHA-1", "SHA-256"])
def test_keys_are_kept_for_their_owner_only(file: Path, umask: int, hash_name: str) -> None:
    keys = ScramKeys.derive(hash_name, b"pencil", b"\x00\xff", 5000)
    before = os.umask(umask)
    try:
        write_keys(file, keys)
    finally:
        os.umask(before)
    assert read_keys(file) == keys
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_no_file_is_no_keys(file: Path) -> None:
    assert read_keys(file) is None


def test_keys_that_others_can_use_are_refused(file: Path) -> None:
    write_keys(file, KEYS)
    file.chmod(0o640)
    with pytest.raises(SetupError, match="can be read by others") as caught:
        read_keys(file)
    assert caught.value.hint == f"chmod 600 '{file}'"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "jet SCRAM keys, 2"},
        {"hash": "MD5"},
        {"hash": ["SHA-256"]},
        {"iterations": 1},
        {"iterations": 4096.0},
        {"iterations": "4096"},
        {"client_key": "c2hvcnQ="},
        {"server_key": "not base64"},
        {"salt": 7},
        {"salt": ""},
    ],
)
def test_a_file_without_keys_is_told_and_not_quoted(file: Path, change: dict[str, object]) -> None:
    write_keys(file, KEYS)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(SetupError, match="holds no SCRAM keys") as caught:
        read_keys(file)
    assert caught.value.hint == "jet login"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [b"", b"a password\n", b"\xff", b"[]", b"{}", b'"text"'])
def test_a_file_that_is_no_document_is_told(file: Path, content: bytes) -> None:
    write_keys(file, KEYS)
    file.write_bytes(content)
    with pytest.raises(SetupError, match="holds no SCRAM keys"):
        read_keys(file)


def test_a_file_of_keys_that_cannot_be_used_is_told(file: Path) -> None:
    file.mkdir(parents=True, mode=0o700)
    with pytest.raises(SetupError, match="is a directory"):
        read_keys(file)
