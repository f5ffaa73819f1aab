"""A plain TCP forwarder on loopback that writes down every byte that passes.

Owns a listening port, the connections through it and their recordings. Refuses to know what the bytes mean: what is
looked for in the recordings is the business of `jetcli.trial.search`.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

HOST = "127.0.0.1"
BUFFER = 262_144
DIAL_S = 5.0


class Way(StrEnum):
    """The way that bytes go: out from the side that dialled, or back to it."""

    OUT = "out"
    BACK = "back"


class Tap:
    """Forward each connection to `port` on to `target`; record it in `recordings`, where a directory is given.

    Each way of each connection has a file of its own. The end of one way is passed on as it comes, so that a
    half-closed connection stays half closed. `carried` counts bytes of both ways. After `cut_after` bytes every
    connection ends, once; `was_cut` tells that it has happened.
    """

    def __init__(self, target: tuple[str, int], recordings: Path | None = None) -> None:
        self.target = target
        self.recordings = recordings
        self.carried = 0
        self.cut_after: int | None = None
        self.was_cut = False
        self._listener = socket.create_server((HOST, 0))
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._connections = 0
        self._closed = False

    @property
    def port(self) -> int:
        """Return the port that takes connections."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end all connections, and return when nothing is written any more."""
        with self._lock:
            self._closed = True
            _end(*self._open)
        with suppress(OSError):  # wakes accept(), which closing the listener does not
            socket.create_connection((HOST, self.port), DIAL_S).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            if self._closed:
                near.close()
                return
            self._start(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with suppress(OSError), self._held(near):
            far = socket.create_connection(self.target, timeout=DIAL_S)
            far.settimeout(None)
            with self._held(far):
                number = self._next_number()
                back = threading.Thread(target=self._pump, args=(far, near, Way.BACK, number), daemon=True)
                back.start()
                self._pump(near, far, Way.OUT, number)
                back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, way: Way, number: int) -> None:
        buffer = memoryview(bytearray(BUFFER))
        with self._recording(number, way) as recording:
            try:
                while size := source.recv_into(buffer):
                    if recording:
                        recording.write(buffer[:size])
                    self.carried += size
                    sink.sendall(buffer[:size])
                    self._cut_if_due()
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                _end(source, sink)

    def _cut_if_due(self) -> None:
        with self._lock:
            if self.cut_after is None or self.was_cut or self.carried < self.cut_after:
                return
            self.was_cut = True
            _end(*self._open)

    @contextmanager
    def _recording(self, number: int, way: Way) -> Iterator[BinaryIO | None]:
        if self.recordings is None:
            yield None
            return
        with (self.recordings / f"{number}-{way}").open("wb", buffering=0) as file:
            yield file

    @contextmanager
    def _held(self, end: socket.socket) -> Iterator[None]:
        """Keep `end` where `close` finds it, then close it; raise OSError where all is closed already."""
        try:
            with self._lock:
                if self._closed:
                    raise ConnectionAbortedError
                self._open.add(end)
            yield
        finally:
            with self._lock:
                self._open.discard(end)
            end.close()

    def _next_number(self) -> int:
        with self._lock:
            self._connections += 1
            return self._connections

    def _start(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
