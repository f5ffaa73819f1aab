"""Measure the data path: one file from a sender process to a receiver process over loopback TCP.

    python tests/bench/datapath.py [--size MIB] [--rounds N] [--directory DIR] [--cases raw,chunked,...]

Each round runs every case once, in turn, so that a busy machine disturbs all alike; ratios compare within a round.
`raw` is a copy in Python by read, send, receive and write with one buffer a side and no cipher: what the same machine
can do at all. No login, negotiation or fsync is measured. CPU is user and system time of both processes from the
connection until the file is complete; memory is the peak of the larger process.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from jetcli.protocol.cipher import CHUNK, ChunkedOpener, ChunkedSealer, stream_key
from jetcli.protocol.model import TAG_SIZE, Cipher, TransportSecret
from jetcli.transfer.stream import receive_stream, send_stream
from jetcli.xmpp.channel import SocketChannel

SECRETS = {
    Cipher.CHUNKED: TransportSecret(bytes(range(32)), bytes(range(12))),
    Cipher.AES_128_GCM: TransportSecret(bytes(range(16)), bytes(range(12))),
}
TRANSCRIPT = bytes(32)
RAW_BUFFER = 1 << 20

#: Case name -> cipher (None: raw copy) and whether both sides hash.
CASES: dict[str, tuple[Cipher | None, bool]] = {
    "raw": (None, False),
    "chunked": (Cipher.CHUNKED, False),
    "plain": (Cipher.AES_128_GCM, False),
    "chunked+sha256": (Cipher.CHUNKED, True),
}


class OpenFile:
    """A file descriptor as source and as sink of a stream."""

    name = "bench"

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [buffer], offset)

    def changed(self) -> str | None:
        return None

    def write(self, data: memoryview) -> None:
        while data:
            data = data[os.write(self._fd, data) :]


def send_raw(sock: socket.socket, fd: int) -> None:
    buffer = memoryview(bytearray(RAW_BUFFER))
    while count := os.readv(fd, [buffer]):
        sock.sendall(buffer[:count])
    sock.shutdown(socket.SHUT_WR)


def receive_raw(sock: socket.socket, fd: int) -> None:
    buffer = memoryview(bytearray(RAW_BUFFER))
    while count := sock.recv_into(buffer):
        view = buffer[:count]
        while view:
            view = view[os.write(fd, view) :]


def send(sock: socket.socket, fd: int, case: str, size: int) -> None:
    cipher, hasher = CASES[case]
    if cipher is None:
        send_raw(sock, fd)
        return
    send_stream(
        SocketChannel(sock), OpenFile(fd), cipher, SECRETS[cipher], transcript=TRANSCRIPT, size=size, hasher=hasher,
        progress=lambda _: None, stop=threading.Event(),
    )  # fmt: skip


def receive(sock: socket.socket, fd: int, case: str, size: int) -> None:
    cipher, hasher = CASES[case]
    if cipher is None:
        receive_raw(sock, fd)
        return
    receive_stream(
        SocketChannel(sock), OpenFile(fd), cipher, SECRETS[cipher], transcript=TRANSCRIPT, size=size, hasher=hasher,
        progress=lambda _: None, stop=threading.Event(),
    )  # fmt: skip


@contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def side(pipe: Connection, work: Callable[[], None]) -> None:
    """Run one side and report its CPU seconds and peak memory in MiB."""
    before = time.process_time()
    work()
    cpu = time.process_time() - before
    pipe.send((cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def sender(port: int, path: str, case: str, size: int, pipe: Connection) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock, opened(path, os.O_RDONLY) as fd:
        side(pipe, lambda: send(sock, fd, case, size))
        sock.recv(1)


def receiver(listener: socket.socket, path: str, case: str, size: int, pipe: Connection) -> None:
    sock, _ = listener.accept()
    flags = os.O_WRONLY if path == os.devnull else os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with sock, opened(path, flags) as fd:
        started = time.monotonic()
        side(pipe, lambda: receive(sock, fd, case, size))
        pipe.send(time.monotonic() - started)


def run(case: str, source: str, target: str, size: int) -> dict[str, float]:
    """Move `source` to `target` once, each side in a fresh process; return what it took."""
    context = get_context("spawn")
    ours, theirs = zip(*(context.Pipe(duplex=False) for _ in range(2)), strict=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        receiving = context.Process(target=receiver, args=(listener, target, case, size, theirs[0]))
        sending = context.Process(target=sender, args=(port, source, case, size, theirs[1]))
        for process in (receiving, sending):
            process.start()
        for end in theirs:
            end.close()
        rx_cpu, rx_rss = ours[0].recv()
        wall = ours[0].recv()
        tx_cpu, tx_rss = ours[1].recv()
        for process in (receiving, sending):
            process.join()
    return {"wall_s": wall, "tx_cpu_s": tx_cpu, "rx_cpu_s": rx_cpu, "rss_mib": max(rx_rss, tx_rss)}


def same(left: Path, right: Path) -> bool:
    with left.open("rb") as one, right.open("rb") as other:
        while block := one.read(1 << 20):
            if block != other.read(1 << 20):
                return False
        return not other.read(1)


def make_source(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for position in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - position)))


def measure(directory: Path, cases: list[str], size: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    source, target = directory / "source", directory / "target"
    make_source(source, size)
    results: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            results[case].append(run(case, str(source), str(target), size))
            if not same(source, target):
                sys.exit(f"{case}: the copy differs")
            target.unlink()
    return results


def cipher_alone() -> tuple[float, float]:
    """Return CPU s/GB of sealing and of opening chunks, both at once as in a transfer, without files or sockets."""
    count = 1024
    key = stream_key(SECRETS[Cipher.CHUNKED], TRANSCRIPT)
    sealed = memoryview(bytearray(CHUNK + TAG_SIZE))
    ChunkedSealer(key).seal_into(memoryview(bytearray(CHUNK)), sealed, final=False)

    def seal() -> None:
        sealer, piece = ChunkedSealer(key), memoryview(bytearray(CHUNK + TAG_SIZE))
        for _ in range(count):
            sealer.seal_into(piece[:CHUNK], piece, final=False)

    def unseal() -> None:
        plain = memoryview(bytearray(CHUNK))
        for _ in range(count):
            ChunkedOpener(key).open_into(sealed, plain, final=False)

    def measured(work: Callable[[], None]) -> float:
        before = time.thread_time()
        work()
        return (time.thread_time() - before) / (count * CHUNK) * 1e9

    with ThreadPoolExecutor(2) as threads:
        seal_s, unseal_s = threads.map(measured, (seal, unseal))
    return seal_s, unseal_s


def table(results: dict[str, list[dict[str, float]]], size: int) -> Iterator[str]:
    yield f"{'case':16} {'GB/s':>6} {'of raw':>7} {'CPU s/GB':>9} {'tx':>6} {'rx':>6} {'RSS MiB':>8}"
    gigabytes = size / 1e9
    for case, rounds in results.items():
        wall = statistics.median(r["wall_s"] for r in rounds)
        tx, rx = (statistics.median(r[key] for r in rounds) / gigabytes for key in ("tx_cpu_s", "rx_cpu_s"))
        ratio = "-"
        if "raw" in results:
            pairs = zip(results["raw"], rounds, strict=True)
            ratio = f"{statistics.median(raw['wall_s'] / ours['wall_s'] for raw, ours in pairs):.2f}"
        rss = max(r["rss_mib"] for r in rounds)
        yield f"{case:16} {gigabytes / wall:6.2f} {ratio:>7} {tx + rx:9.2f} {tx:6.2f} {rx:6.2f} {rss:8.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure jet's data path against a raw copy.")
    parser.add_argument("--size", type=int, default=1024, metavar="MIB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    size = args.size << 20
    with tempfile.TemporaryDirectory(dir=args.directory, prefix="jet-bench-") as directory:
        results = measure(Path(directory), args.cases.split(","), size, args.rounds)
    if args.json:
        print(json.dumps(results))
        return
    print("\n".join(table(results, size)))
    seal, unseal = cipher_alone()
    print(f"AES-256-GCM in chunks, alone: {seal:.2f} to seal, {unseal:.2f} to open, CPU s/GB")


if __name__ == "__main__":
    main()
