"""What an offer says of a file."""

import pytest

from jetcli.transfer.offering import date_of


@pytest.mark.parametrize(
    ("mtime", "date"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00Z"),
        (1_790_000_000.9, "2026-09-21T14:13:20Z"),
        (-1.5, "1969-12-31T23:59:59Z"),
        (3e11, None),
        (1e300, None),
    ],
)
def test_a_date_is_told_where_it_can_be_written(mtime, date):
    assert date_of(mtime) == date
