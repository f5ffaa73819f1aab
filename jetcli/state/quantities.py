"""What people write for sizes, durations and addresses, as numbers. Pure functions; ValueError tells what is wrong."""

import re

_SIZE_UNITS: dict[str, int] = {"": 1, "B": 1} | {
    spelling: base**power
    for power, letter in enumerate("KMGTP", start=1)
    for spelling, base in ((letter, 1024), (f"{letter}IB", 1024), (f"{letter}B", 1000))
}
_DURATION_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

_SIZE = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,9}))?\s?([KMGTP]?(?:I?B)?)", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|[smhd])", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that `text` names: `4096`, `4G` and `4GiB` are powers of 1024, `4GB` of 1000; `1.5G` works."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None or match[3] not in _SIZE_UNITS:
        raise ValueError(f"{text!r} is not a size such as 500M or 4G")
    unit, fraction = _SIZE_UNITS[match[3]], match[2] or "0"
    scale: int = 10 ** len(fraction)
    return int(match[1]) * unit + int(fraction) * unit // scale


def parse_rate(text: str) -> int:
    """Return the bytes a second that `text` names: a size, with or without `/s`; never nothing."""
    rate = parse_size(text.strip().lower().removesuffix("/s"))
    if not rate:
        raise ValueError(f"{text!r} is not a rate such as 500k or 2M")
    return rate


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names: `90`, `90s`, `10m`, `1h30m`, `500ms`, `2d`."""
    bare = text.strip()
    if _SECONDS.fullmatch(bare):
        return float(bare)
    parts = _DURATION_PART.findall(bare)
    if not parts or "".join(number + unit for number, unit in parts) != bare:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    return sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in parts)


def parse_endpoint(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 address stands in brackets, which are taken off."""
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""  # an IPv6 address without brackets: where it ends is a guess
    if not (colon and host and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) and 0 < int(port) < 65_536):
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)
