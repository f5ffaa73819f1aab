"""The phases from the start of a command to its first byte, told to the log when each is over.

They are imports, connect, TLS, SASL, bind, OMEMO, disco, offer, accept, candidates and first byte.
Whoever keeps the log adds the times (`jetcli.cli.logs`); nothing here reads a clock.
"""

import logging

_log = logging.getLogger("jetcli.phases")


def phase_over(name: str) -> None:
    """Tell that a phase is over; any thread may."""
    _log.debug(name)
