"""Names, text, sizes and addresses of a peer: what is believed and what is refused."""

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.errors import DeclinedError, JetError, RemoteProtocolError
from jetcli.protocol.model import FileDescription
from jetcli.protocol.policy import (
    GCM_LIMIT,
    MAX_COMPONENT,
    MAX_SIZE,
    believable_mtime,
    local_name,
    numbered,
    offered_size,
    shown,
    shown_size,
    unsigned,
)

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


TAKEN_AS_THEY_ARE = [
    "report.pdf",
    "no-suffix",
    "two  blanks.txt",
    " leading blank",
    "trailing blank ",
    "Bildschirmfoto 2026-11-22 um 3.04.png",
    "12:30 notes.txt",
    "grüße.txt",
    "отчёт.doc",
    "報告書.pdf",
    "דוח.pdf",
    "👋.jpg",
    "❤️.jpg",
    "a..b",
    "trailing.",
    "~root",
    "-rf",
    "$(reboot)",
    "`id`;x",
    "*?[a]",
    "name=value&x",
    "[oops] [red]markup[red]",
    "%2e%2e",
    "a%2fb",
    "%00",
    "CON",
    "nul.txt",
    "jet-k3v9.part",
    "a" * MAX_COMPONENT,
    "ü" * 127,
]


HIDDEN = [".bashrc", ".ssh", "...", ".. ", "..a", ".profile.txt", "..%2f..%2fetc%2fpasswd"]


#: What no honest sender has: paths, and what commands or deceives a terminal.
HOSTILE = [
    ".",
    "..",
    "/",
    "/etc/passwd",
    "../../.ssh/authorized_keys",
    "a/../../b",
    "a/b",
    "a/",
    "./a",
    "nul\0byte.txt",
    "line\nbreak",
    "return\r",
    "tab\there",
    "\x1b[2Jcleared",
    "bell\a",
    "del\x7f",
    "c1\x9b31m",
    "next\x85line",
    "gpj.\u202eexe",
    "iso\u2066late",
]

#: What a sender may have, and is not taken under that name.
DECLINED = [
    None,
    "",
    " ",
    "\u3000\u00a0",
    "..\\..\\evil.exe",
    "C:\\Windows\\x",
    "\\\\host\\share",
    "a\\b",
    "zero\u200bwidth",
    "join\u200der",
    "bom\ufeff",
    "soft\u00adhyphen",
    "tag\U000e0041",
    "line\u2028separator",
    "para\u2029graph",
    "lone\ud800surrogate",
    "undecodable\udcff",
    "private\ue000use",
    "non\uffffcharacter",
    "non\ufdd0character",
    "non\U0001fffecharacter",
    "a" * (MAX_COMPONENT + 1),
    "ü" * 128,
    "x" * 1_000_000,
    ".jet-k3v9.part",
    ".JET-K3V9.PART",
]


def test_the_tables_of_names_are_not_small():
    assert len({*TAKEN_AS_THEY_ARE, *HIDDEN, *HOSTILE, *DECLINED}) >= 60


@pytest.mark.parametrize("name", TAKEN_AS_THEY_ARE, ids=ascii)
def test_a_usual_name_is_taken_as_it_is(name):
    assert local_name(name) == name


@pytest.mark.parametrize("name", HIDDEN, ids=ascii)
def test_a_hidden_name_is_taken_only_when_the_user_allows_it(name):
    with pytest.raises(DeclinedError, match="refused unsafe file name") as refusal:
        local_name(name)
    assert "--allow-hidden" in refusal.value.hint
    assert local_name(name, allow_hidden=True) == name


@pytest.mark.parametrize("name", [*HOSTILE, *DECLINED], ids=lambda name: ascii(name)[:30])
def test_an_unsafe_name_is_refused_even_where_hidden_ones_are_allowed(name):
    for allow_hidden in (False, True):
        with pytest.raises(JetError, match="refused unsafe file name") as refusal:
            local_name(name, allow_hidden=allow_hidden)
        assert "-o NAME" in refusal.value.hint
        assert len(refusal.value.message) < 250
        assert not categories(refusal.value.message) & FORBIDDEN


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:30])
def test_a_path_and_what_deceives_a_terminal_break_the_protocol(name):
    with pytest.raises(RemoteProtocolError) as refusal:
        local_name(name)
    assert refusal.value.condition == "failed-application"
    assert refusal.value.exit_code == 15


@pytest.mark.parametrize("name", [*DECLINED, *HIDDEN], ids=lambda name: ascii(name)[:30])
def test_a_name_that_a_sender_may_have_is_declined(name):
    with pytest.raises(DeclinedError) as refusal:
        local_name(name)
    assert refusal.value.exit_code == 9


def test_the_refusal_quotes_the_name():
    with pytest.raises(RemoteProtocolError, match=r"^refused unsafe file name '\.\./\.\./\.ssh/authorized_keys'$"):
        local_name("../../.ssh/authorized_keys")


def test_the_refusal_shows_escapes_and_overrides_escaped():
    with pytest.raises(RemoteProtocolError) as refusal:
        local_name("\x1b[2J\u202efdp.exe")
    assert refusal.value.message == r"refused unsafe file name '\x1b[2J\u202efdp.exe'"


@given(st.text() | st.text(alphabet="./\\ab\0\n%2eF\u202e", max_size=12), st.booleans())
def test_whatever_name_is_taken_stays_one_component_of_its_directory(name, allow_hidden):
    try:
        taken = local_name(name, allow_hidden=allow_hidden)
    except JetError:
        return
    inside = Path("/srv/in") / taken
    assert inside.parent == Path("/srv/in")
    assert os.path.normpath(inside) == str(inside)
    assert os.fsdecode(os.fsencode(taken)) == taken


def test_a_name_that_is_taken_survives_the_file_system(tmp_path):
    for name in TAKEN_AS_THEY_ARE:
        (tmp_path / local_name(name)).touch()
    assert {entry.name for entry in tmp_path.iterdir()} == set(TAKEN_AS_THEY_ARE)


@given(st.text(), st.integers(2, 99_999))
def test_numbering_a_safe_name_keeps_it_safe(name, n):
    try:
        local_name(name, allow_hidden=True)
    except JetError:
        return
    another = numbered(name, n)
    assert local_name(another, allow_hidden=True) == another
    assert f" ({n})" in another


@pytest.mark.parametrize(
    ("name", "another"),
    [
        ("report.pdf", "report (2).pdf"),
        ("report", "report (2)"),
        ("backup.tar.gz", "backup (2).tar.gz"),
        (".profile", ".profile (2)"),
        ("a.b.c", "a.b (2).c"),
        ("see you. at ten", "see you. at ten (2)"),
        ("x..", "x.. (2)"),
        ("a" * 255, "a" * 251 + " (2)"),
        ("ü" * 125 + ".jpeg", "ü" * 123 + " (2).jpeg"),
    ],
)
def test_a_number_goes_before_the_suffix(name, another):
    assert numbered(name, 2) == another


@given(st.text(max_size=300), st.integers(1, 300))
def test_shown_text_has_nothing_that_a_terminal_obeys(text, limit):
    clean = shown(text, limit)
    assert not categories(clean) & FORBIDDEN
    assert len(clean) <= limit


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=200))
def test_plain_text_is_shown_unchanged(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\nb\tc\r", r"a\x0ab\x09c\x0d"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj", r"\u202egpj"),
        ("\U000e0041", r"\U000e0041"),
        ("\udcff", r"\udcff"),
        ("\ufffe\U0010ffff", r"\ufffe\U0010ffff"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
    ids=ascii,
)
def test_an_unsafe_character_is_shown_escaped(text, clean):
    assert shown(text) == clean


def test_long_text_is_cut_and_no_escape_is_cut_in_two():
    assert shown("x" * 201) == "x" * 199 + "…"
    assert shown("x" * 200) == "x" * 200
    assert shown("ab\u202ecd", 8) == "ab…"
    assert shown("ab\u202e", 8) == r"ab\u202e"
    assert shown("\x1b" * 10_000_000, 10) == r"\x1b\x1b…"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3100, "3.1 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (64_000_000, "64 MB"),
        (1_200_000_000, "1.2 GB"),
        (9_000_000_000_000, "9.0 TB"),
        (2**63 - 1, "9223 PB"),
    ],
)
def test_sizes_are_shown_for_people(count, text):
    assert shown_size(count) == text


@pytest.mark.parametrize("text", ["0", "7", "007", "9223372036854775807"])
def test_an_unsigned_number_is_digits_only(text):
    assert unsigned(text) == int(text)


@pytest.mark.parametrize(
    "text", ["", "-1", "+5", " 7", "7 ", "1_000", "1e9", "0x10", "٣", "²", "1.0", "9223372036854775808", "9" * 30]
)
def test_another_spelling_of_a_number_is_refused(text):
    with pytest.raises(ValueError, match=r"not an unsigned|more than"):
        unsigned(text)


def test_an_unsigned_number_has_the_maximum_of_its_place():
    assert unsigned("65535", 65535) == 65535
    with pytest.raises(ValueError, match="more than 65535"):
        unsigned("65536", 65535)


@pytest.mark.parametrize("size", [0, 1, GCM_LIMIT, MAX_SIZE])
def test_a_size_inside_the_limits_is_an_offer(size):
    assert offered_size(FileDescription(size=size)) == size


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (FileDescription(), "the offer has no valid size"),
        (FileDescription(size=-1), "the offer has no valid size: '-1'"),
        (FileDescription(size=MAX_SIZE + 1), "the offer has no valid size: '9223372036854775808'"),
        (FileDescription(bad_number="1e9"), "the offer has no valid size: '1e9'"),
        (FileDescription(bad_number="٣\x1b"), r"the offer has no valid size: '٣\x1b'"),
    ],
)
def test_an_offer_without_a_valid_size_is_refused(file, message):
    with pytest.raises(RemoteProtocolError) as refusal:
        offered_size(file)
    assert refusal.value.message == message


def test_a_size_may_be_missing_but_never_wrong_where_streams_are_open_ended():
    assert offered_size(FileDescription(), may_be_unknown=True) is None
    with pytest.raises(RemoteProtocolError):
        offered_size(FileDescription(bad_number="-1"), may_be_unknown=True)
    with pytest.raises(RemoteProtocolError):
        offered_size(FileDescription(size=-1), may_be_unknown=True)


@pytest.mark.parametrize(
    ("mtime", "believed"),
    [
        (None, None),
        (1.7e9, 1.7e9),
        (1.8e9 + 86_400, 1.8e9 + 86_400),
        (1.8e9 + 86_401, None),
        (0.0, None),
        (-1.0, None),
        (float("nan"), None),
        (float("inf"), None),
        (1e300, None),
    ],
)
def test_a_time_is_believed_inside_a_sane_window(mtime, believed):
    assert believable_mtime(mtime, now=1.8e9) == believed


def categories(text: str) -> set[str]:
    return {unicodedata.category(char) for char in text}
