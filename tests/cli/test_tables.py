import pytest

from jetcli.cli.tables import _drawn

COLUMNS = ("DEVICE", "CLIENT", "RECEIVES")
ROWS = (("/jet.x9", "jet 1.0", "yes"), ("/gajim", "Gajim 2", "no"))


@pytest.fixture
def drawn(monkeypatch):
    """Draw the table on a terminal of so many columns; returns its lines without what pads them."""

    def draw(width):
        monkeypatch.setenv("COLUMNS", str(width))
        return [line.rstrip() for line in _drawn(COLUMNS, ROWS, coloured=False).splitlines()]

    return draw


def test_a_row_is_one_line_where_the_terminal_is_wide_enough(drawn):
    assert drawn(80)[2:] == ["/jet.x9   jet 1.0   yes", "/gajim    Gajim 2   no"]


def test_a_terminal_too_narrow_for_a_table_shows_each_row_as_a_block_and_breaks_no_word(drawn):
    assert drawn(20) == [
        "DEVICE    /jet.x9",
        "CLIENT    jet 1.0",
        "RECEIVES  yes",
        "",
        "DEVICE    /gajim",
        "CLIENT    Gajim 2",
        "RECEIVES  no",
    ]
