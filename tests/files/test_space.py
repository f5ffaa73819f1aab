"""How much space there is, and what is done when it runs out."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from sinks import created

from jetcli.errors import LocalFileError
from jetcli.files import sink as sink_module
from jetcli.files.sink import Sink
from jetcli.files.space import check_space, free_bytes


def disk(monkeypatch, *, free: int, total: int) -> None:
    told = SimpleNamespace(f_frsize=1000, f_bavail=free // 1000, f_blocks=total // 1000)
    monkeypatch.setattr(os, "statvfs", lambda path: told)


def test_a_file_that_does_not_fit_is_refused_with_both_sizes(monkeypatch):
    disk(monkeypatch, free=1_267_000_000, total=100_000_000_000)
    with pytest.raises(LocalFileError) as raised:
        check_space(Path(), 9_000_000_000_000)
    assert raised.value.message == "not enough space in '.': 9.0 TB needed, 1.2 GB free"


def test_a_reserve_is_left_that_suits_the_disk(monkeypatch):
    disk(monkeypatch, free=10**12, total=10**13)
    assert free_bytes(Path()) == 10**12 - 64 * 2**20
    disk(monkeypatch, free=900_000, total=1_000_000)
    assert free_bytes(Path()) == 890_000
    check_space(Path(), 890_000)
    with pytest.raises(LocalFileError):
        check_space(Path(), 890_001)


def test_an_empty_file_fits_on_a_full_disk(monkeypatch):
    disk(monkeypatch, free=0, total=10**9)
    check_space(Path(), 0)
    with pytest.raises(LocalFileError):
        check_space(Path(), 1)


def test_what_has_no_size_leaves_the_reserve_free(inbox, monkeypatch):
    disk(monkeypatch, free=1_005_000, total=100_000_000)
    sink = created(inbox, size=None)
    sink.write(memoryview(bytes(4000)))
    disk(monkeypatch, free=1_001_000, total=100_000_000)
    with pytest.raises(LocalFileError) as raised:
        sink.write(memoryview(bytes(4000)))
    assert raised.value.message == "cannot write 'report.pdf': no space left after 4000 bytes"
    assert raised.value.hint.startswith("free some space in ")
    assert (sink.position, raised.value.exit_code) == (4000, 13)
    sink.discard()


def test_the_free_space_is_looked_at_now_and_then_and_only_where_the_size_is_unknown(inbox, monkeypatch):
    disk(monkeypatch, free=10**12, total=10**12)
    looks, looked = [], sink_module.free_bytes
    monkeypatch.setattr(sink_module, "free_bytes", lambda *place: looks.append(place) or looked(*place))
    monkeypatch.setattr(sink_module, "LOOK_AT_SPACE", 4000)
    sized, unsized = created(inbox, size=10_000), Sink.create(inbox, "stream", "k4v9", size=None)
    for _ in range(10):
        sized.write(memoryview(bytes(1000)))
        unsized.write(memoryview(bytes(1000)))
    assert len(looks) == 3
    for sink in (sized, unsized):
        sink.discard()


def test_the_space_of_a_missing_directory_is_not_known(tmp_path):
    with pytest.raises(LocalFileError, match="no such file"):
        free_bytes(tmp_path / "missing")
