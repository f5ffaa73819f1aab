import base64
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetcli.trial.search import WINDOWS, Windows


def windows_of(tmp_path, content, seed=1):
    file = tmp_path / "file"
    file.write_bytes(content)
    return Windows.of(file, random.Random(seed))


def seen(tmp_path, content):
    file = tmp_path / "seen"
    file.write_bytes(content)
    return file


@given(before=st.integers(0, 40), after=st.integers(0, 40), ahead=st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("encode", [bytes, base64.b64encode])
def test_one_piece_is_found_wherever_it_lies_and_however_it_is_encoded(tmp_path, encode, before, after, ahead):
    piece = random.Random(7).randbytes(24)
    windows = Windows((piece, b"another piece, 24 bytes."))
    hidden = encode(os.urandom(ahead) + piece + os.urandom(after))
    assert windows.found_in(seen(tmp_path, b"." * before + hidden)) == 1


def test_all_windows_of_a_file_are_found_in_itself(tmp_path):
    content = random.Random(2).randbytes(100_000)
    assert windows_of(tmp_path, content).found_in(seen(tmp_path, b"x" + content)) == WINDOWS


def test_nothing_is_found_in_other_bytes(tmp_path):
    windows = windows_of(tmp_path, random.Random(2).randbytes(100_000))
    assert windows.found_in(seen(tmp_path, random.Random(3).randbytes(100_000))) == 0


def test_a_piece_that_lacks_its_last_byte_is_not_found(tmp_path):
    piece = b"exactly twenty-four byte"
    assert Windows((piece,)).found_in(seen(tmp_path, b"..." + piece[:-1] + b"?")) == 0


def test_text_is_found_behind_the_escapes_of_xml(tmp_path):
    log = seen(tmp_path, b"<body>&lt;a href=&apos;x&apos;&gt;more&#10;text&lt;/a&gt;</body>")
    assert Windows((b"<a href='x'>more\ntext</a",)).found_in_xml(log) == 1


def test_a_file_shorter_than_a_window_has_none(tmp_path):
    windows = windows_of(tmp_path, b"short")
    assert windows.pieces == ()
    assert windows.found_in(seen(tmp_path, b"short and long enough")) == 0


def test_nothing_is_found_where_nothing_was_seen(tmp_path: Path):
    assert windows_of(tmp_path, bytes(range(100))).found_in(seen(tmp_path, b"")) == 0
