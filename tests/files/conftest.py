"""What the tests of files need."""

from pathlib import Path

import pytest


@pytest.fixture
def inbox(tmp_path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox
