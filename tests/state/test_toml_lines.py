import pytest

from jetcli.state.toml_lines import find, lines_of

TEXT = '''\
# [b] in a comment
a = """
[b]
b = 1
"""

[b]
"c.d" = [ # a list
  1,

  2,
]
e.f = {g = 1}
[[h]]
'''


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        (("a",), (2, 5)),
        (("b",), (7, 7)),
        (("b", "c.d"), (8, 12)),
        (("b", "e", "f", "g"), (13, 13)),
        (("h",), (14, 14)),
        (("b", "a"), None),
        (("a", "b"), None),
    ],
)
def test_a_key_is_found_where_its_statement_stands(path: tuple[str, ...], lines: tuple[int, int] | None) -> None:
    assert find(TEXT, path) == lines


def test_only_a_line_feed_ends_a_line() -> None:
    text = 'a = "\u2028"\r\nb = 1'
    assert lines_of(text) == ['a = "\u2028"\r\n', "b = 1"]
    assert find(text, ("b",)) == (2, 2)
