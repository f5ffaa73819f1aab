"""Where jet keeps things: the configuration file, and a private directory for each account."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from msgspec import Struct

from jetcli.errors import UsageError


class Paths(Struct, frozen=True):
    """The configuration file, and the directory that holds one directory of state for each account."""

    config: Path
    state: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return the paths under `JET_HOME` where it is set, else those of the platform."""
        home = environment.get("JET_HOME")
        if home:
            root = Path(os.path.abspath(os.path.expanduser(home)))
            return cls(root / "config.toml", root / "state")
        import platformdirs  # noqa: PLC0415  # costs 30 ms, which whoever sets JET_HOME need not wait for

        return cls(
            platformdirs.user_config_path("jet", appauthor=False) / "config.toml",
            platformdirs.user_data_path("jet", appauthor=False),
        )

    def account(self, bare_jid: str) -> Path:
        """Return the directory of state of `bare_jid`; raises UsageError where that can be no directory's name."""
        if not bare_jid or bare_jid in {".", ".."} or set(bare_jid) & set("/\0") or len(bare_jid.encode()) > 255:
            raise UsageError(f"{bare_jid!r} is not a valid address of an account")
        return self.state / bare_jid

    def password(self, bare_jid: str) -> Path:
        """Return the file where login keeps the password of `bare_jid`."""
        return self.account(bare_jid) / "password"

    def scram_keys(self, bare_jid: str) -> Path:
        """Return the file where login keeps the SCRAM keys of `bare_jid`, which open the account like its password."""
        return self.account(bare_jid) / "scram.json"
