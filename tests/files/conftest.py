"""What the tests of files need."""

from pathlib import Path

import pytest
from archives import packed


@pytest.fixture
def inbox(tmp_path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


@pytest.fixture
def archive(tmp_path):
    """Write an archive with these members."""

    def make(*members, name="gift.tar", **options) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir()
        path.write_bytes(packed(members, **options))
        return path

    return make
