import pytest

from jetcli.cli.wording import clock_text, duration_text, plural, share_text, size_text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3100, "3.1 kB"), (81_200_000_000, "81 GB"), (999_600, "1.0 MB")],
)
def test_a_size_is_written(count, text):
    assert size_text(count) == text


def test_a_share_is_written_in_the_unit_of_the_whole():
    assert share_text(1_600_000_000, 2_200_000_000) == "1.6 of 2.2 GB"


@pytest.mark.parametrize(("seconds", "text"), [(0.42, "0.4 s"), (54, "54 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_a_time_that_something_took_is_written(seconds, text):
    assert duration_text(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (22, "0:22"), (3900, "1:05:00")])
def test_a_time_that_is_left_is_written(seconds, text):
    assert clock_text(seconds) == text


def test_one_device_is_not_one_devices():
    assert (plural(1, "device"), plural(2, "device")) == ("1 device", "2 devices")
