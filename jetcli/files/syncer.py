"""The thread that has a part file written to the disk every so often, so that a power cut costs little.

fdatasync takes as long as the disk takes; the worker that writes the part must not wait for it.
"""

import threading
from collections.abc import Callable

from jetcli.errors import JetError

#: So many bytes, or so many seconds after the last time, whichever comes first.
SYNC_BYTES = 64 * 2**20
SYNC_S = 1.0


class Syncer:
    """Call `sync` when `written` says that it is due; tell `synced` how many bytes are safe.

    `synced` runs on the syncer's thread. Where one of the two fails the thread ends, and `failed` is told why: the sink
    remembers the failure and raises it to whoever writes next.
    """

    def __init__(
        self, sync: Callable[[], int], synced: Callable[[int], None], failed: Callable[[JetError], None]
    ) -> None:
        self._sync = sync
        self._synced = synced
        self._failed = failed
        self._written = 0
        self._asked = 0
        self._safe = 0
        self._due = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="jet-sync", daemon=True)
        self._thread.start()

    def written(self, position: int) -> None:
        """Take note that `position` bytes have been written; returns at once."""
        self._written = position
        if position - self._asked >= SYNC_BYTES:
            self._asked = position
            self._due.set()

    def stop(self) -> None:
        """End the thread and wait for a sync that runs; nothing is synced after this."""
        self._stopped = True
        self._due.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.wait(SYNC_S)
            self._due.clear()
            if self._stopped:
                return
            if self._written > self._safe:
                try:
                    self._safe = self._sync()
                    self._synced(self._safe)
                except JetError as error:
                    self._failed(error)
                    return
