"""`jet receive` that throws the bytes away: to measure memory over sizes that no disk here holds. Bench only.

All of the receiver runs as it is (login, envelope, session, stream, chunks, the part file and its syncing), but what
is written goes to /dev/null instead of into the part, and the empty part is removed instead of published.
"""

import os
from pathlib import Path

from jetcli.cli import run
from jetcli.files.sink import Sink

_NULL = os.open(os.devnull, os.O_WRONLY)


def _write(self: Sink, view: memoryview) -> None:
    self._position += os.write(_NULL, view)
    if self._syncer is not None:
        self._syncer.written(self._position)


def _publish(self: Sink, mtime: float | None = None) -> Path:
    self.discard()
    return self._path / self.name


Sink.write = _write
Sink.publish = _publish

if __name__ == "__main__":
    run()
