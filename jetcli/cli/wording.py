"""Numbers as people read them: sizes, rates, durations, and how many there are of something.

Pure; knows no terminal. Sizes are decimal (1 kB is 1,000 bytes), as disks and networks count.
"""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def size_text(count: int) -> str:
    """Write `count` bytes with two digits that matter: `340 B`, `3.1 kB`, `81 GB`."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 1 if unit and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[unit]}"


def share_text(count: int, whole: int) -> str:
    """Write `count` of `whole` bytes in the unit of the whole: `1.6 of 2.2 GB`."""
    value, unit = size_text(whole).split(" ")
    power = _UNITS.index(unit)
    digits = 1 if "." in value else 0
    return f"{count / 1000**power:.{digits}f} of {value} {unit}"


def rate_text(bytes_per_s: float) -> str:
    """Write a rate: `41 MB/s`."""
    return f"{size_text(round(bytes_per_s))}/s"


def duration_text(seconds: float) -> str:
    """Write a time that something took: `0.4 s`, `54 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def clock_text(seconds: float | None) -> str:
    """Write a time that is left: `0:22`, `1:05:00`, or `-:--` where nobody knows."""
    if seconds is None:
        return "-:--"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    start = f"{hours}:{rest // 60:02}" if hours else f"{rest // 60}"
    return f"{start}:{rest % 60:02}"


def plural(count: int, noun: str) -> str:
    """Write `count` of something: `1 device`, `2 devices`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
