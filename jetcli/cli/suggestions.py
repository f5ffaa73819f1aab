"""What the shell may complete: aliases, contacts whose keys were met, and transfers.

Loaded for every press of the tabulator key, so it opens the state read-only, waits for nobody, and fails silently.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem

#: A database that is being written to is not worth waiting for.
_BUSY_S = 0.05


def contacts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete addresses: aliases of the configuration, and contacts that jet has met."""
    del param
    aliases = {alias: jid for alias, jid in _tables("aliases").items() if isinstance(jid, str)}
    met = [jid for jid in _rows(ctx, "SELECT DISTINCT jid FROM trust ORDER BY jid") if jid not in aliases.values()]
    found = [CompletionItem(alias, help=jid) for alias, jid in aliases.items() if alias.startswith(incomplete)]
    return found + [CompletionItem(jid) for jid in met if jid.startswith(incomplete)]


def files_and_contacts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete addresses, and leave it to the shell to complete file names."""
    return [*contacts(ctx, param, incomplete), CompletionItem(incomplete, type="file")]


def transfers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the ids of transfers that can be continued."""
    del param
    sql = "SELECT id FROM transfers WHERE state NOT IN ('done', 'failed') ORDER BY updated DESC"
    return [CompletionItem(name) for name in _rows(ctx, sql) if name.startswith(incomplete)]


def accounts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete the names of accounts."""
    del ctx, param
    found = {name: table.get("jid", "") for name, table in _tables("accounts").items() if isinstance(table, dict)}
    return [CompletionItem(name, help=jid) for name, jid in found.items() if name.startswith(incomplete)]


def topics(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Complete what `jet help` can tell about."""
    del param
    from jetcli.cli.topics import TOPICS

    group = ctx.parent.command if ctx.parent is not None else None
    names = [*TOPICS, *(group.commands if isinstance(group, click.Group) else ())]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _tables(name: str) -> Mapping[str, Any]:
    """Return a table of the configuration unchecked: checking it all takes longer than a person at a shell waits."""
    import tomllib

    from jetcli.state.paths import Paths

    try:
        table = tomllib.loads(Paths.from_environment().config.read_text(encoding="utf-8")).get(name)
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _rows(ctx: click.Context, sql: str) -> Iterator[str]:
    """Return the first column of what the state of every account answers."""
    del ctx
    from jetcli.state.paths import Paths

    try:
        databases = sorted(Paths.from_environment().state.glob("*/state.db"))
    except OSError:
        return
    for database in databases:
        yield from _query(database, sql)


def _query(database: Path, sql: str) -> list[str]:
    import sqlite3

    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=_BUSY_S)) as state:
            return [str(row[0]) for row in state.execute(sql)]
    except sqlite3.Error:
        return []
