"""Waiting for the peer of a negotiation: who is let through, and who gives way."""

import asyncio
import socket
import struct

import pytest

from jetcli.protocol.bytestream import dst_addr
from jetcli.trial.server import free_ports
from jetcli.xmpp import socks5
from jetcli.xmpp.listener import HandshakeLimits, Listener, SharedPorts
from jetcli.xmpp.socks5 import HandshakeError

OURS = dst_addr("sid", "romeo@montague.lit/a", "juliet@capulet.lit/b")
THEIRS = dst_addr("sid", "juliet@capulet.lit/b", "romeo@montague.lit/a")
ANOTHER = dst_addr("another", "juliet@capulet.lit/b", "romeo@montague.lit/a")
HERE = "127.0.0.1"
GREETING = b"\x05\x01\x00"


@pytest.fixture
async def listen():
    """Open listeners that are closed after the test."""
    listeners = []

    async def open_(*hosts, **options):
        listeners.append(Listener.at(hosts or [HERE], **{"accepted": [OURS, THEIRS], **options}))
        return listeners[-1]

    yield open_
    for listener in listeners:
        listener.close()


async def dial(listener, dstaddr=OURS, **options):
    return await socks5.dial(HERE, listener.port, dstaddr, timeout_s=5, **options)


def exchange(near, far):
    """Say whether two channels are the ends of one connection."""
    near.sendall(memoryview(b"ping"))
    buffer = bytearray(4)
    far.recv_into(memoryview(buffer))
    return bytes(buffer) == b"ping"


@pytest.mark.parametrize("dstaddr", [OURS, THEIRS])
async def test_a_peer_that_names_the_bytestream_is_connected(listen, dstaddr):
    listener = await listen()
    far = await dial(listener, dstaddr)
    near = await listener.connected(5)
    assert exchange(near, far)
    assert exchange(far, near)


async def test_the_sockets_block_and_have_an_idle_time(listen):
    listener = await listen()
    for channel in (await dial(listener), await listener.connected(5)):
        assert channel._socket.getblocking()
        for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            assert struct.unpack("@ll", channel._socket.getsockopt(socket.SOL_SOCKET, limit, 16)) == (60, 0)


async def test_a_listener_waits_for_a_peer_that_comes_later(listen):
    listener = await listen()
    waiting = asyncio.create_task(listener.connected(5))
    far = await dial(listener)
    assert exchange(await waiting, far)


async def test_nobody_comes_is_a_timeout(listen):
    listener = await listen()
    with pytest.raises(TimeoutError):
        await listener.connected(0.01)


async def test_all_hosts_share_a_port_and_a_connection_is_found_by_the_host_it_came_to(listen):
    listener = await listen(HERE, "127.0.0.2")
    assert listener.addresses == ((HERE, listener.port), ("127.0.0.2", listener.port))
    first = await socks5.dial("127.0.0.2", listener.port, OURS, timeout_s=5)
    await dial(listener)
    assert exchange(await listener.connected(5, host="127.0.0.2"), first)


async def test_an_advertised_host_that_is_not_ours_stands_for_any_connection(listen):
    listener = await listen()
    far = await dial(listener)
    assert exchange(await listener.connected(5, host="203.0.113.7"), far)


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(listen):
    with socket.create_server((HERE, 0)) as taken, pytest.raises(OSError, match=r"[Aa]ddress"):
        await listen(HERE, port=taken.getsockname()[1])


async def test_a_host_that_is_not_ours_any_more_is_left_out(listen):
    listener = await listen("203.0.113.7", HERE)
    assert [host for host, _ in listener.addresses] == [HERE]


async def test_no_host_to_listen_on_is_an_error(listen):
    with pytest.raises(OSError, match="no address to listen on"):
        Listener.at([], accepted=[OURS])


async def test_a_stranger_is_refused_and_the_peer_still_connected(listen):
    listener = await listen()
    with pytest.raises(HandshakeError, match="code 2"):
        await dial(listener, dst_addr("another", "a", "b"))
    far = await dial(listener)
    assert exchange(await listener.connected(5), far)


async def test_rogue_connections_do_not_keep_the_peer_out(listen):
    listener = await listen()
    rogues = [await asyncio.open_connection(HERE, listener.port) for _ in range(50)]
    far = await dial(listener)
    assert exchange(await listener.connected(5), far)
    for _, writer in rogues:
        writer.close()


async def test_more_than_the_allowed_handshakes_close_the_oldest(listen):
    listener = await listen(limits=HandshakeLimits(pending=2))
    oldest, _, _ = [await asyncio.open_connection(HERE, listener.port) for _ in range(3)]
    assert await ended(oldest[0])
    assert len(listener._entrance._pending) == 2


async def ended(reader):
    """Wait for the end of a connection, which may be a reset."""
    async with asyncio.timeout(5):
        try:
            return await reader.read() in {b"", b"\x05\x00"}
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(HandshakeLimits(handshake_s=60, between_bytes_s=0.02), id="too long between bytes"),
        pytest.param(HandshakeLimits(handshake_s=0.02, between_bytes_s=60), id="too long in all"),
    ],
)
@pytest.mark.parametrize("begun", [b"", b"\x05", GREETING, GREETING + b"\x05\x01"])
async def test_a_handshake_that_takes_too_long_is_closed(listen, limits, begun):
    listener = await listen(limits=limits)
    reader, writer = await asyncio.open_connection(HERE, listener.port)
    writer.write(begun)
    assert await ended(reader)
    writer.close()


async def test_close_ends_pending_handshakes_connections_and_listening(listen):
    listener = await listen()
    pending, _ = await asyncio.open_connection(HERE, listener.port)
    connected = await dial(listener)
    taken = await listener.connected(5)
    connected_too = await dial(listener)
    listener.close()
    assert await ended(pending)
    assert connected_too.recv_into(memoryview(bytearray(1))) == 0
    assert exchange(taken, connected)
    with pytest.raises(ConnectionRefusedError):
        await dial(listener)


async def test_a_peer_may_keep_only_so_many_connections(listen):
    listener = await listen(limits=HandshakeLimits(pending=2))
    first, *_ = [await dial(listener) for _ in range(3)]
    assert await asyncio.to_thread(first.recv_into, memoryview(bytearray(1))) == 0
    assert len(listener._connected) == 2


# A port that the user chose.


@pytest.fixture
async def shared():
    """Wait at one port for several bytestreams: `shared(OURS)`; all are closed after the test."""
    ports, listeners, [port] = SharedPorts(HandshakeLimits(pending=2)), [], free_ports(1)

    def wait_for(*accepted):
        listeners.append(ports.listener((HERE,), port, accepted))
        return listeners[-1]

    yield wait_for
    for listener in listeners:
        listener.close()


async def test_two_negotiations_wait_at_one_port_and_each_gets_its_own_peer(shared):
    ours, another = shared(OURS), shared(ANOTHER)
    assert ours.port == another.port
    to_another, to_ours = await dial(another, ANOTHER), await dial(ours, OURS)
    assert exchange(await ours.connected(5), to_ours)
    assert exchange(await another.connected(5), to_another)


async def test_the_end_of_one_negotiation_leaves_the_port_to_the_other(shared):
    ours, another = shared(OURS), shared(ANOTHER)
    ours.close()
    with pytest.raises(HandshakeError, match="code 2"):
        await dial(another, OURS)
    assert exchange(await dial(another, ANOTHER), await another.connected(5))
    another.close()
    with pytest.raises(ConnectionRefusedError):
        await dial(another, ANOTHER)


async def test_a_port_is_opened_again_for_the_next_negotiation(shared):
    shared(OURS).close()
    later = shared(OURS)
    assert exchange(await dial(later), await later.connected(5))


async def test_rogues_at_a_shared_port_keep_nobody_out(shared):
    ours, another = shared(OURS), shared(ANOTHER)
    rogues = [await asyncio.open_connection(HERE, ours.port) for _ in range(20)]
    assert exchange(await dial(another, ANOTHER), await another.connected(5))
    assert len(ours._entrance._pending) <= 4
    for _, writer in rogues:
        writer.close()
