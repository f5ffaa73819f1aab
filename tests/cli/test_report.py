"""What a command says of its failures: each of them once."""

import pytest

from jetcli.cli.report import Report
from jetcli.errors import IntegrityError
from jetcli.transfer.events import Declined, FileFailed, Offered, Progress


@pytest.fixture
def report(paper):
    return Report(None, paper())


def lines(report):
    return report.messages.stream.getvalue().splitlines()


def test_a_failure_is_told_although_many_others_were_told_and_forgotten(report):
    for _ in range(1000):
        report.emit(FileFailed("k3v9", "receive", "film.mkv", IntegrityError("altered")))
        report.error(IntegrityError("another"))
    assert len(lines(report)) == 2000
    assert len(report._told) == 0


def test_a_failure_that_is_held_on_to_is_told_once(report):
    error = IntegrityError("altered")
    report.emit(FileFailed("k3v9", "receive", "film.mkv", error))
    report.error(error)
    assert lines(report) == ["jet: error: altered"]


def test_an_offer_that_was_declined_is_under_way_no_more(report):
    report.emit(Offered("k3v9", "receive", "romeo@montague.example/jet", "film.mkv", 2, None, resumable=True))
    report.emit(Progress("k3v9", "receive", 1, 2))
    report.emit(Declined("k3v9", "receive", "me", ""))
    assert report._under_way == {}
    report.view.status()
    assert lines(report)[-1] == "no transfer is running"
