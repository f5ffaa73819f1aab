"""Hashing the beginning of a file for a proof."""

import hashlib
import threading

import pytest

from jetcli.errors import InterruptedTransferError, LocalFileError
from jetcli.files.digest import prefix_sha256
from jetcli.files.sink import Sink
from jetcli.files.source import Source

CONTENT = bytes(range(256)) * 9000


@pytest.mark.parametrize("length", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, len(CONTENT)])
def test_source_and_part_have_the_digest_of_their_beginning(tmp_path, length):
    path = tmp_path / "film.mkv"
    path.write_bytes(CONTENT)
    expected = hashlib.sha256(CONTENT[:length]).digest()
    with Source.open(path) as source:
        assert prefix_sha256(source, length, threading.Event()) == expected
    sink = Sink.create(tmp_path, "copy", "k3v9", size=None)
    sink.write(memoryview(CONTENT))
    assert prefix_sha256(sink, length, threading.Event()) == expected
    sink.discard()


def test_a_file_that_is_too_short_has_none(tmp_path):
    path = tmp_path / "film.mkv"
    path.write_bytes(b"short")
    with Source.open(path) as source, pytest.raises(LocalFileError, match="ended after 0 of the 6 bytes"):
        prefix_sha256(source, 6, threading.Event())


def test_it_can_be_stopped(tmp_path):
    path = tmp_path / "film.mkv"
    path.write_bytes(b"short")
    stop = threading.Event()
    stop.set()
    with Source.open(path) as source, pytest.raises(InterruptedTransferError):
        prefix_sha256(source, 5, stop)
