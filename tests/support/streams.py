"""Both ends of a stream without a network: texts, a wire, and how to send and receive over it."""

import hashlib
import threading
from itertools import chain, repeat

import pytest

from jetcli.protocol.model import Cipher, TransportSecret
from jetcli.transfer.stream import receive_stream, send_stream

DIGEST = hashlib.sha256(b"transcript").digest()


SECRETS = {cipher: TransportSecret(bytes(range(cipher.key_size)), bytes(range(12))) for cipher in Cipher}


every_cipher = pytest.mark.parametrize("cipher", Cipher, ids=lambda cipher: cipher.name.lower())


def pattern(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


class Text:
    """A source in memory. `read_at_once` bounds a read, as a pipe does."""

    name = "report.pdf"

    def __init__(self, data, *, read_at_once=None, change=None):
        self.data, self.read_at_once, self.change = data, read_at_once, change
        self.changed = lambda: self.change

    def read_into(self, buffer, offset):
        data = self.data[offset : offset + len(buffer)][: self.read_at_once]
        buffer[: len(data)] = data
        return len(data)


class Wire:
    """A channel that keeps what is sent, and gives out `stream` in pieces of the sizes `splits`, cyclically."""

    def __init__(self, stream=b"", splits=(), *, end=None):
        self.stream, self.end = memoryview(stream), end
        self.splits = chain(splits, repeat(1 << 30))
        self.sent, self.finished = bytearray(), False

    def recv_into(self, buffer):
        if not self.stream and self.end is not None:
            raise self.end
        length = min(len(buffer), next(self.splits), len(self.stream))
        buffer[:length] = self.stream[:length]
        self.stream = self.stream[length:]
        return length

    def sendall(self, data):
        assert not self.finished
        self.sent += data

    def finish_sending(self):
        self.finished = True

    def drain(self, deadline_s, enough=None):
        return len(self.stream)

    def close(self):
        raise AssertionError("the channel belongs to someone else")

    abort = close


class Written(bytearray):
    """A sink in memory."""

    def write(self, data):
        self.extend(data)


def send(channel, source, cipher, *, size, **options):
    return send_stream(
        channel,
        source,
        cipher,
        SECRETS[cipher],
        transcript=DIGEST if cipher is Cipher.CHUNKED else None,
        size=size,
        **{"progress": lambda position: None, "stop": threading.Event()} | options,
    )


def receive(channel, sink, cipher, *, size, **options):
    return receive_stream(
        channel,
        sink,
        cipher,
        SECRETS[cipher],
        transcript=DIGEST if cipher is Cipher.CHUNKED else None,
        size=size,
        **{"progress": lambda position: None, "stop": threading.Event(), "name": "report.pdf"} | options,
    )


def sealed(cipher, data, **options):
    wire = Wire()
    send(wire, Text(data), cipher, **{"size": len(data)} | options)
    assert wire.finished
    return bytes(wire.sent)


def received(cipher, wire, size, **options):
    sink = Written()
    receive(wire, sink, cipher, size=size, **options)
    return bytes(sink)
