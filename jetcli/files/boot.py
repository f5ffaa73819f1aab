"""Which boot of the machine this is: a record counts on unsynced bytes only within the boot that wrote them."""

import re
import subprocess
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")
_SYSCTL = "/usr/sbin/sysctl"
_SYSCTL_DEADLINE_S = 5.0


def boot_id() -> str | None:
    """Return a text that is the same until the machine boots again, or None where the system does not tell.

    None equals no other boot: whoever compares must take it for a new one. On macOS and the BSDs a stepped clock also
    changes it, which costs bytes sent twice and nothing else.
    """
    try:
        return _LINUX.read_text("ascii").strip() or None
    except OSError:
        return _boot_time()


def _boot_time() -> str | None:
    try:
        # A fixed program with fixed arguments: nothing of it comes from outside.
        told = subprocess.run(  # noqa: S603
            [_SYSCTL, "-n", "kern.boottime"], capture_output=True, text=True, timeout=_SYSCTL_DEADLINE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # The answer holds seconds and microseconds in braces, then a date; the microseconds waver, the seconds do not.
    found = re.search(r"sec = (\d+)", told.stdout)
    return f"boottime-{found.group(1)}" if found else None
