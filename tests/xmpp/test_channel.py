import contextlib
import socket
import struct
import threading

import pytest

from jetcli.xmpp.channel import SocketChannel


@pytest.fixture
def pair():
    """A channel with a short idle time, and the plain socket at its other end, over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname())
        near, _ = server.accept()
    channel = SocketChannel(near, idle_s=0.05)
    far.settimeout(5)
    with far, near:
        yield channel, far


@pytest.fixture
def patient(pair):
    """The same with the usual idle time."""
    near, far = pair
    return SocketChannel(near._socket, idle_s=60), far


def received(far):
    return b"".join(iter(lambda: far.recv(65536), b""))


def test_what_is_sent_arrives_and_ends_with_the_end_of_sending(patient):
    channel, far = patient
    data = bytes(range(256)) * 40_000
    sender = threading.Thread(target=lambda: (channel.sendall(memoryview(data)), channel.finish_sending()))
    sender.start()
    assert received(far) == data
    sender.join()


def test_what_the_peer_sends_is_put_into_the_buffer_until_the_end(patient):
    channel, far = patient
    far.sendall(b"some bytes")
    far.shutdown(socket.SHUT_WR)
    buffer = bytearray(4)
    got = b""
    while count := channel.recv_into(memoryview(buffer)):
        got += buffer[:count]
    assert got == b"some bytes"


def test_a_silent_peer_is_a_timeout(pair):
    channel, _ = pair
    with pytest.raises(TimeoutError):
        channel.recv_into(memoryview(bytearray(1)))


def test_a_peer_that_takes_nothing_is_a_timeout(pair):
    channel, _ = pair
    with pytest.raises(TimeoutError):
        channel.sendall(memoryview(bytes(64 * 1024 * 1024)))


def test_a_slow_peer_is_no_timeout_while_the_kernels_queue_shrinks(pair, monkeypatch):
    channel, _ = pair
    queues = iter([900, 800, 700, 600, 500, 400])
    monkeypatch.setattr(channel, "_queued", lambda: next(queues, 400))
    fill(channel)
    with pytest.raises(TimeoutError):
        channel.sendall(memoryview(bytes(1024 * 1024)))
    assert next(queues, None) is None


def test_where_the_kernel_does_not_tell_its_queue_silence_is_a_timeout(pair, monkeypatch):
    channel, _ = pair
    monkeypatch.setattr(channel, "_queued", lambda: None)
    fill(channel)
    with pytest.raises(TimeoutError):
        channel.sendall(memoryview(bytes(1024 * 1024)))


def fill(channel):
    channel._socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            channel._socket.send(bytes(1024 * 1024))
    channel._socket.setblocking(True)


def test_the_kernel_tells_how_much_is_unacknowledged(pair):
    channel, _ = pair
    assert channel._queued() == 0
    fill(channel)
    assert channel._queued() > 0


def blocked(call):
    """Run `call` in a thread; return the thread and the list that its exception comes into."""
    failures = []

    def run():
        try:
            call()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failures


def test_abort_frees_a_worker_that_receives(patient):
    channel, _ = patient
    worker, failures = blocked(lambda: channel.recv_into(memoryview(bytearray(1))))
    channel.abort()
    worker.join(5)
    assert isinstance(failures[0], ConnectionAbortedError)


def test_abort_frees_a_worker_that_sends(patient):
    channel, _ = patient
    worker, failures = blocked(lambda: channel.sendall(memoryview(bytes(64 * 1024 * 1024))))
    channel.abort()
    worker.join(5)
    assert isinstance(failures[0], OSError)


def test_abort_ends_a_drain(patient):
    channel, _ = patient
    worker, failures = blocked(lambda: channel.drain(60))
    channel.abort()
    worker.join(5)
    assert not worker.is_alive()
    assert failures == []


def test_what_is_called_after_abort_fails(patient):
    channel, _ = patient
    channel.abort()
    with pytest.raises(ConnectionAbortedError):
        channel.recv_into(memoryview(bytearray(1)))
    with pytest.raises(OSError, match=r"[Bb]roken pipe"):
        channel.sendall(memoryview(b"x"))


def test_drain_counts_what_it_discards_until_the_end(patient):
    channel, far = patient
    far.sendall(bytes(16))
    far.shutdown(socket.SHUT_WR)
    assert channel.drain(60) == 16


def test_drain_stops_at_its_deadline_and_the_idle_time_holds_again(pair):
    channel, far = pair
    far.sendall(bytes(16))
    assert channel.drain(0.01) == 16
    assert channel._socket.gettimeout() is None
    with pytest.raises(TimeoutError):
        channel.recv_into(memoryview(bytearray(1)))


def test_drain_counts_nothing_more_when_the_peer_resets(patient):
    channel, far = patient
    reset(far)
    assert channel.drain(60) == 0


def reset(far):
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


def test_the_end_of_sending_to_a_peer_that_is_gone_is_no_error(patient):
    channel, far = patient
    reset(far)
    channel.finish_sending()


def test_close_with_unread_bytes_ends_with_a_fin_so_that_the_peer_reads_everything(patient):
    channel, far = patient
    channel.sendall(memoryview(b"the last bytes"))
    far.sendall(bytes(100_000))
    channel.close()
    assert received(far) == b"the last bytes"


def test_closing_twice_is_no_error(patient):
    channel, _ = patient
    channel.close()
    channel.close()
    channel.abort()
