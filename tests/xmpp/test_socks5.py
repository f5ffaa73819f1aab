import asyncio
import io
import socket
from contextlib import closing

import aioxmpp
import aioxmpp.xml
import pytest

from jetcli.errors import NetworkError
from jetcli.protocol.bytestream import dst_addr
from jetcli.xmpp import socks5
from jetcli.xmpp.listener import Listener
from jetcli.xmpp.socks5 import HandshakeError, ProxyRefusedError, Query, StreamHost

OURS = dst_addr("sid", "romeo@montague.lit/a", "juliet@capulet.lit/b")
THEIRS = dst_addr("sid", "juliet@capulet.lit/b", "romeo@montague.lit/a")
HERE = "127.0.0.1"
GREETING = b"\x05\x01\x00"


@pytest.fixture
async def serve():
    """Start servers that answer each connection with the given bytes, then close."""
    servers, requests = [], []

    async def start(*answers):
        async def answer(reader, writer):
            for data in answers:
                requests.append(await reader.read(1024))
                writer.write(data)
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(answer, HERE, 0))
        return servers[-1].sockets[0].getsockname()[1], requests

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("refusal", [b"\x05\x01", b"\x05\x04\x00\x03", b"HT", b""])
async def test_a_refusal_is_an_error_whatever_form_it_has(serve, refusal):
    port, _ = await serve(b"\x05\x00", refusal)
    with pytest.raises(HandshakeError):
        await socks5.dial(HERE, port, OURS, timeout_s=5)


async def test_after_a_refusal_the_other_order_is_asked_for_where_the_caller_wants_it():
    with closing(Listener.at([HERE], accepted=[THEIRS])) as listener:
        with pytest.raises(HandshakeError):
            await socks5.dial(HERE, listener.port, OURS, timeout_s=5)
        far = await socks5.dial(HERE, listener.port, OURS, timeout_s=5, retry_dstaddr=THEIRS)
        near = await listener.connected(5)
        far.sendall(memoryview(b"x"))
        assert near.recv_into(memoryview(bytearray(1))) == 1


async def test_a_closed_port_is_not_dialled_twice(serve):
    with socket.create_server((HERE, 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await socks5.dial(HERE, port, OURS, timeout_s=5, retry_dstaddr=THEIRS)


async def test_a_server_that_says_nothing_is_a_timeout():
    with socket.create_server((HERE, 0)) as silent, pytest.raises(TimeoutError):
        await socks5.dial(HERE, silent.getsockname()[1], OURS, timeout_s=0.02)


async def test_no_byte_of_the_bytestream_is_lost_when_it_comes_with_the_reply(serve):
    port, requests = await serve(b"\x05\x00", b"\x05\x00\x00\x03\x28" + OURS.encode() + b"\0\0first bytes")
    channel = await socks5.dial(HERE, port, OURS, timeout_s=5)
    buffer = bytearray(64)
    count = await asyncio.to_thread(channel.recv_into, memoryview(buffer))
    assert bytes(buffer[:count]) == b"first bytes"
    assert requests == [GREETING, b"\x05\x01\x00\x03\x28" + OURS.encode() + b"\0\0"]


async def test_a_name_is_resolved_to_the_first_address_that_policy_allows(resolves):
    resolves("10.0.0.1", "10.0.0.1", "203.0.113.9", "203.0.113.10")
    asked = []

    def why_not(host, port):
        asked.append((host, port))
        return "private" if host.startswith("10.") else None

    assert await socks5.resolve("proxy.example", 7777, why_not) == "203.0.113.9"
    assert asked == [("10.0.0.1", 7777), ("203.0.113.9", 7777)]


async def test_a_name_with_refused_addresses_only_is_an_error_with_the_reason(resolves):
    resolves("10.0.0.1", "10.0.0.2")
    with pytest.raises(OSError, match="no address to dial: private"):
        await socks5.resolve("proxy.example", 7777, lambda *_: "private")


async def test_at_most_8_addresses_of_a_name_are_looked_at(resolves):
    resolves(*(f"10.0.0.{number}" for number in range(20)))
    asked = []
    with pytest.raises(OSError, match="no address to dial"):
        await socks5.resolve("proxy.example", 7777, lambda host, _: asked.append(host) or "private")
    assert len(asked) == 8


async def test_an_odd_spelling_of_a_literal_is_judged_by_the_address_it_means():
    with pytest.raises(OSError, match=r"not 127\.0\.0\.1"):
        await socks5.resolve("127.1", 7777, lambda host, _: f"not {host}")


@pytest.fixture
def resolves(monkeypatch):
    """Let every name have the given addresses."""

    def to(*addresses):
        async def getaddrinfo(*_, **__):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 7777)) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return to


class Server:
    """Stands for an aioxmpp client: keeps what is sent, and answers with `answer` or raises it."""

    def __init__(self, answer):
        self.answer = answer
        self.sent = []
        self.local_jid = aioxmpp.JID.fromstr("romeo@montague.lit/a")
        self.established_event = asyncio.Event()
        self.established_event.set()

    async def send(self, iq):
        self.sent.append(iq)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def parsed(text):
    return aioxmpp.xml.read_single_xso(io.BytesIO(text.encode()), Query)


def bytestreams(body):
    return parsed(f"<query xmlns='http://jabber.org/protocol/bytestreams'>{body}</query>")


async def test_a_proxy_is_asked_for_its_address():
    server = Server(bytestreams("<streamhost jid='proxy.capulet.lit' host='proxy.capulet.lit' port='7777'/>"))
    found = await socks5.query_streamhost(server, "proxy.capulet.lit")
    assert found == StreamHost("proxy.capulet.lit", "proxy.capulet.lit", 7777)
    assert server.sent[0].type_ is aioxmpp.IQType.GET
    assert str(server.sent[0].to) == "proxy.capulet.lit"


async def test_a_proxy_of_a_cluster_is_known_by_the_node_that_it_names():
    server = Server(bytestreams("<streamhost jid='proxy.capulet.lit/70306884' host='192.0.2.1' port='7777'/>"))
    found = await socks5.query_streamhost(server, "proxy.capulet.lit")
    assert found == StreamHost("proxy.capulet.lit/70306884", "192.0.2.1", 7777)


@pytest.mark.parametrize(
    "element",
    [
        pytest.param("", id="none"),
        pytest.param("<streamhost jid='evil.lit/proxy.lit' host='192.0.2.1' port='7777'/>", id="another in front"),
        pytest.param(f"<streamhost jid='proxy.lit/{'a' * 256}' host='192.0.2.1' port='7777'/>", id="long JID"),
        pytest.param("<streamhost jid='evil.lit' host='192.0.2.1' port='7777'/>", id="another JID"),
        pytest.param("<streamhost host='192.0.2.1' port='7777'/>", id="no JID"),
        pytest.param("<streamhost jid='proxy.lit' port='7777'/>", id="no host"),
        pytest.param("<streamhost jid='proxy.lit' host='' port='7777'/>", id="empty host"),
        pytest.param(f"<streamhost jid='proxy.lit' host='{'a' * 256}' port='7777'/>", id="long host"),
        *(
            pytest.param(f"<streamhost jid='proxy.lit' host='192.0.2.1' port='{port}'/>", id=f"port {port}")
            for port in ("0", "-1", "65536", "+7777", " 7777", "7_777", "٣", "")
        ),
    ],
)
async def test_an_address_that_is_malformed_or_of_another_is_not_used(element):
    with pytest.raises(ProxyRefusedError, match=r"proxy proxy\.lit gives no usable address"):
        await socks5.query_streamhost(Server(bytestreams(element)), "proxy.lit")


async def test_the_first_usable_address_is_taken():
    server = Server(
        bytestreams(
            "<streamhost jid='proxy.lit' host='192.0.2.1' port='0'/>"
            "<streamhost jid='proxy.lit' host='192.0.2.2' port='1080'/>"
        )
    )
    assert await socks5.query_streamhost(server, "proxy.lit") == StreamHost("proxy.lit", "192.0.2.2", 1080)


async def test_a_proxy_is_asked_to_activate_the_transport_for_the_peer():
    server = Server(None)
    await socks5.activate(server, "proxy.lit", "transport-sid", "juliet@capulet.lit/b")
    (iq,) = server.sent
    assert iq.type_ is aioxmpp.IQType.SET
    wire = parsed(aioxmpp.xml.serialize_single_xso(iq.payload))
    assert (wire.sid, wire.activate) == ("transport-sid", "juliet@capulet.lit/b")


async def test_a_refused_activation_is_an_error_that_names_the_proxy():
    server = Server(aioxmpp.XMPPCancelError(aioxmpp.ErrorCondition.NOT_ALLOWED))
    with pytest.raises(ProxyRefusedError, match=r"proxy proxy\.lit: .*not-allowed") as caught:
        await socks5.activate(server, "proxy.lit", "sid", "juliet@capulet.lit/b")
    assert isinstance(caught.value, NetworkError)


async def test_a_proxy_that_does_not_answer_is_an_error_after_the_deadline():
    server = Server(None)
    server.established_event.clear()
    with pytest.raises(ProxyRefusedError, match="did not answer"):
        await socks5.activate(server, "proxy.lit", "sid", "juliet@capulet.lit/b", timeout_s=0.01)
