"""Which run of the operating system this is: what was written but not synced survives only within one."""

from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def this_boot(source: Path = _LINUX) -> str:
    """Return an identifier of the running boot, or "" where the system tells none: then only synced bytes count."""
    try:
        return source.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
