"""`jet trust`: whose keys are trusted, compared by a person or decided by a script."""

import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from jetcli.cli import addresses
from jetcli.cli.accounts import config_of, interactive, paths_of
from jetcli.cli.invocation import Invocation
from jetcli.cli.report import Report
from jetcli.cli.tables import show_table
from jetcli.errors import SetupError, UsageError
from jetcli.protocol.device import Trust
from jetcli.protocol.fingerprint import fingerprint, omemo_uri, parse_omemo_uri
from jetcli.protocol.policy import shown
from jetcli.state.config import Config
from jetcli.transfer import trust as keys_of
from jetcli.transfer.options import Network
from jetcli.transfer.trust import KeyRow

if TYPE_CHECKING:
    from jetcli.transfer.account import Online

COLUMNS = ("DEVICE", "FINGERPRINT", "TRUST", "FIRST SEEN")
WORDS = {
    Trust.VERIFIED: "verified",
    Trust.BLIND: "not verified",
    Trust.UNDECIDED: "new key",
    Trust.DISTRUSTED: "revoked",
}


def trust_command(
    invocation: Invocation,
    *,
    jid: str | None,
    uri: bool,
    qr: bool,
    verify: bool,
    add: Sequence[str],
    revoke: Sequence[str],
) -> int:
    """Show or change whose keys are trusted (`jet trust`); returns the exit code."""
    _check_words(invocation, jid, own_only=uri or qr, changes=bool(add or revoke or verify), verify=verify)
    report = invocation.begin("trust")
    config = config_of(invocation)
    account = config.account(invocation.account)
    directory = paths_of(invocation).account(account.jid)
    if jid is None:
        return _show_own(report, directory, account.jid, uri=uri, qr=qr)
    peer = str(addresses.peer_address(jid, lambda: config.aliases, hint="jet trust JID").bare)
    contact = _Contact(invocation, report, directory, peer)
    added = [key for text in add for key in _named_keys(text, peer)]
    revoked = [key for text in revoke for key in _named_keys(text, peer)]
    contact.demand_met(revoked)
    if added or revoked:
        contact.decide(added, Trust.VERIFIED)
        contact.decide(revoked, Trust.DISTRUSTED)
    rows = contact.rows(config, ask=not (added or revoked))
    if verify:
        contact.compare(rows)
    else:
        _show(report, peer, rows)
    return 0


class _Contact(Struct, frozen=True):
    """The keys of `jid` (bare), in the state of our account in `directory`."""

    invocation: Invocation
    report: Report
    directory: Path
    jid: str

    def rows(self, config: Config, *, ask: bool) -> list[KeyRow]:
        """Return the keys that were met; where there are none, `ask` for those that the contact publishes now."""
        rows = keys_of.known_keys(self.directory, self.jid)
        if rows or not ask:
            return rows
        from jetcli.cli.session import go_online

        async def fetch(online: "Online") -> int:
            rows.extend(await keys_of.published(online, self.jid))
            return 0

        self.report.view.line(f"No key of {shown(self.jid)} has been met yet: asking for what is published.")
        go_online(self.invocation, self.report, config, Network(), fetch, command="trust")
        return rows

    def demand_met(self, keys: Sequence[bytes]) -> None:
        """Raise UsageError for a key that the contact was never seen with: a typing error would be kept for good."""
        met = {row.identity_key for row in keys_of.known_keys(self.directory, self.jid)} if keys else set()
        for key in keys:
            if key not in met:
                raise UsageError(
                    f"no key of {shown(self.jid)} has the fingerprint {fingerprint(key)}",
                    hint=f"jet trust {shown(self.jid)}",
                )

    def compare(self, rows: Sequence[KeyRow]) -> None:
        """Ask about each key that is not decided yet whether the person has compared it."""
        open_ones = [row for row in rows if row.trust in {Trust.BLIND, Trust.UNDECIDED}]
        if not open_ones:
            self.report.view.line(f"Every known key of {shown(self.jid)} has been decided about.")
            return
        say = self.report.messages
        say.line(f"Ask {shown(self.jid)} in person, or over a call, what their client shows as its own fingerprint.")
        for row in open_ones:
            say.line(f"Device {row.device_id or 'unknown'}:  {fingerprint(row.identity_key)}")
            say.prompt("Is it the same? [y/N]  ")
            if answer := sys.stdin.readline():
                say.answered()
            if answer.strip().lower() in {"y", "yes"}:
                self.decide([row.identity_key], Trust.VERIFIED)
            else:
                say.line("Left as it was.")

    def decide(self, keys: Sequence[bytes], trust: Trust) -> None:
        """Record what was decided about `keys`, and tell it."""
        if not keys:
            return
        from jetcli.cli.running import carry_out

        deciding = partial(keys_of.decide, self.directory, self.jid, keys, trust, command="jet trust")
        carry_out(self.invocation, self.report, deciding)
        for key in keys:
            self.report.view.line(f"{'Verified' if trust is Trust.VERIFIED else 'Revoked'}: {fingerprint(key)}")


def _check_words(invocation: Invocation, jid: str | None, *, own_only: bool, changes: bool, verify: bool) -> None:
    if jid is None and changes:
        raise UsageError("missing JID", hint="jet trust JID --verify")
    if jid is not None and own_only:
        raise UsageError("--uri and --qr show your own key", hint="jet trust --uri")
    if verify and not interactive(invocation):
        raise UsageError("nobody is there to compare fingerprints", hint="jet trust JID --add FINGERPRINT")


def _named_keys(text: str, jid: str) -> list[bytes]:
    """Return the keys that `text` spells: a fingerprint, or an xmpp: URI of that very JID. Raises UsageError."""
    from jetcli.protocol.fingerprint import parse_fingerprint

    try:
        if not text.startswith("xmpp:"):
            return [parse_fingerprint(text)]
        named = parse_omemo_uri(text)
    except ValueError as problem:
        raise UsageError(f"'{shown(text)}': {problem}") from None
    strangers = [key.jid for key in named if key.jid != jid]
    if strangers:
        raise UsageError(f"that is the key of {shown(strangers[0])}, not of {shown(jid)}")
    return [key.identity_key for key in named]


def _show_own(report: Report, directory: Path, jid: str, *, uri: bool, qr: bool) -> int:
    own = keys_of.own_key(directory, jid)
    if own is None or own.device_id is None:
        raise SetupError(f"{jid} has no key on this machine yet", hint=f"jet login {jid}")
    address = omemo_uri(jid, [(own.device_id, own.identity_key)])
    if report.json is not None:
        report.row(_fields(own) | {"uri": address})
        return 0
    if qr:
        _draw(report, address)
    if uri:
        report.output.write(f"{address}\n".encode())
    if not (uri or qr):
        report.view.line(f"{shown(jid)}, this machine's key. Contacts compare it with what their client shows.")
        if report.output.terminal:
            report.output.write(f"device {own.device_id}\n    {fingerprint(own.identity_key)}\n".encode())
        else:
            show_table(report, COLUMNS[:2], [(str(own.device_id), fingerprint(own.identity_key))])
    return 0


def _draw(report: Report, text: str) -> None:
    if not report.output.terminal:
        raise UsageError("a QR code needs a terminal", hint="jet trust --uri")
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text, error="m").terminal(drawn, compact=True)
    report.output.write(drawn.getvalue().encode())


def _show(report: Report, jid: str, rows: Sequence[KeyRow]) -> None:
    if report.json is not None:
        for row in rows:
            report.row(_fields(row))
        return
    if not rows:
        report.view.line(f"{shown(jid)} has no OMEMO device.")
        return
    if not report.output.terminal:
        show_table(report, COLUMNS, [_cells(row) for row in rows])
        return
    for row in rows:
        # A fingerprint has to stay in one line to be compared, and fills one by itself.
        device, shown_key, trust, seen = _cells(row)
        first = f", first seen {seen}" if seen else ""
        report.output.write(f"device {device or 'unknown'}: {trust}{first}\n    {shown_key}\n".encode())


def _fields(row: KeyRow) -> dict[str, object]:
    return {
        "jid": row.jid,
        "device": row.device_id,
        "fingerprint": row.identity_key.hex(),
        "trust": row.trust.value,
        "first_seen": None if row.first_seen is None else int(row.first_seen),
    }


def _cells(row: KeyRow) -> tuple[str, ...]:
    seen = "" if row.first_seen is None else f"{datetime.fromtimestamp(row.first_seen).astimezone():%Y-%m-%d %H:%M}"
    device = "" if row.device_id is None else str(row.device_id)
    return device, fingerprint(row.identity_key), WORDS[row.trust], seen
