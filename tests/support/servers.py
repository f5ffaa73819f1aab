"""What a server was doing, for whoever reads why a test failed."""

from contextlib import suppress
from pathlib import Path

from jetcli.trial.server import Prosody


def last_words(server: Prosody) -> str:
    """Return the last lines of a server's log, and (on Linux) where its process is."""
    log = server.stanza_log.with_name("prosody.log")
    lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else ["no log"]
    process = server._process
    for name in ("stat", "wchan", "syscall"):
        with suppress(OSError, AttributeError):
            lines.append(f"{name}: {Path(f'/proc/{process.pid}/{name}').read_text()}")
    return "\n".join(lines)
