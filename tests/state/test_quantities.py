import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.state.quantities import parse_duration, parse_endpoint, parse_rate, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("12B", 12),
        ("4G", 4 * 2**30),
        ("4g", 4 * 2**30),
        ("4GiB", 4 * 2**30),
        ("4GB", 4 * 10**9),
        ("1.5k", 1536),
        ("0.1 MB", 100_000),
        ("2T", 2 * 2**40),
        (" 1P ", 2**50),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(0, 10**19), st.sampled_from(["", "K", "M", "G", "T", "P"]))
def test_a_size_in_units_is_exact(count: int, unit: str) -> None:
    assert parse_size(f"{count}{unit}") == count * 1024 ** " KMGTP".index(unit or " ")


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "+1", "1e9", "4X", "1_000", "٣", "1.", ".5", "4GG", "1 2", "9" * 21, "4IB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("2.5", 2.5), ("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_milliseconds_are_not_minutes() -> None:
    assert parse_duration("500ms") == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["", "h", "-1", "1w", "1h 30m", "1h30", "inf", "nan", "1e3", "٣s", "s1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [("a.example:5222", ("a.example", 5222)), ("[::1]:1", ("::1", 1)), ("127.0.0.1:65535", ("127.0.0.1", 65_535))],
)
def test_endpoints_are_read(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:x", "::1:5222", "h:٣", "[]:1"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_endpoint(text)


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration, parse_endpoint):
        try:
            parse(text)
        except ValueError as error:
            assert repr(text) in str(error)  # noqa: PT017 either outcome is right


@pytest.mark.parametrize(("text", "rate"), [("2M", 2 * 2**20), ("500k/s", 500 * 1024), ("1MB/s", 10**6), ("7", 7)])
def test_rates_are_read(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "fast", "/s", "2M/h"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_rate(text)
