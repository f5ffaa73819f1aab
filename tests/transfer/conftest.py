"""What the tests of transfers share."""

import pytest


@pytest.fixture
def inbox(tmp_path):
    """Where a receiver saves: an empty directory."""
    made = tmp_path / "inbox"
    made.mkdir()
    return made
