"""Stores and records for the tests of the state layer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jetcli.state.store import Store
from jetcli.state.transfers import RecordedIdentity, TransferRecord


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the state of the account under test is, or will be."""
    return tmp_path / "state" / "romeo@montague.example"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    with Store.open(directory) as opened:
        yield opened


@pytest.fixture
def record() -> Callable[..., TransferRecord]:
    """Make a record, every field of which differs from its default, changed by keyword."""

    def make(**changes: object) -> TransferRecord:
        values: dict[str, object] = {
            "id": "k3v9",
            "direction": "receive",
            "first_sid": "sid-1",
            "peer": "juliet@capulet.example",
            "device_keys": bytes(range(64)),
            "name": "film.mkv",
            "size": 2**40,
            "date": "2026-11-22T01:40:00Z",
            "media_type": "video/x-matroska",
            "path": "/home/romeo/in",
            "chunked": True,
            "created": 1000.5,
            "updated": 1000.5,
            "final_name": "other.mkv",
            "on_exist": "fail",
            "source": RecordedIdentity(2**64 - 1, 2**64 - 2, 2**40, 10**18, 10**18 + 1),
            "part": ".jet-k3v9.part",
            "part_inode": 2**64 - 3,
            "verified": 300,
            "synced": 200,
            "boot_id": "boot-1",
            "sha256": bytes(range(32)),
            "checksum": True,
            "most": 2**41,
            "extract": True,
        }
        return TransferRecord(**{**values, **changes})  # type: ignore[arg-type]  # values of all kinds by keyword

    return make
