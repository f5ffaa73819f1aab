"""Databases with something in them, laid out as files."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from jetcli.state.store import KeyValues, Store


def filled(directory: Path, count: int = 40) -> None:
    with Store.open(directory) as store, store.transaction():
        for n in range(count):
            KeyValues(store).store(f"key-{n}", f'"{n * 1000}"')


@contextlib.contextmanager
def laid_out(files: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a directory of state that holds `files`."""
    with tempfile.TemporaryDirectory() as name:
        for file, content in files.items():
            (Path(name) / file).write_bytes(content)
            (Path(name) / file).chmod(0o600)
        yield Path(name)
