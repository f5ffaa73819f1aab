import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.socks5 import ClientHandshake, Established, Refused, Send, ServerHandshake

NAME = "972b7bf47291ca609517f67f86b5081086052dad"
OTHER = "1a12fb7bc625e55f3ed5b29a53dbe0e4aa7d80ba"
REQUEST = b"\x05\x01\x00\x03\x28" + NAME.encode() + b"\0\0"
ECHO = b"\x05\x00\x00\x03\x28" + NAME.encode() + b"\0\0"
REFUSED = b"\0\x01" + bytes(6)


def fed(machine, wire, cuts=()):
    """Give `wire` to a handshake in pieces that end at `cuts`, never more than it wants; return all events."""
    events, place, stops = [], 0, sorted(cuts)
    while machine.wanted and place < len(wire):
        stop = min([place + machine.wanted, len(wire), *(cut for cut in stops if cut > place)])
        events += machine.receive(wire[place:stop])
        place = stop
    return events


def test_a_client_greets_requests_and_is_connected():
    client = ClientHandshake(NAME)
    assert client.start() == Send(b"\x05\x01\x00")
    assert client.receive(b"\x05\x00") == [Send(REQUEST)]
    assert fed(client, ECHO) == [Established(NAME)]
    assert client.wanted == 0


def test_a_server_answers_the_greeting_and_echoes_the_request():
    server = ServerHandshake([OTHER, NAME])
    assert fed(server, b"\x05\x01\x00") == [Send(b"\x05\x00")]
    assert fed(server, REQUEST) == [Send(ECHO), Established(NAME)]


@pytest.mark.parametrize("accepted", [[NAME, OTHER], [OTHER, NAME]])
@pytest.mark.parametrize("name", [NAME, OTHER])
def test_a_server_takes_the_hash_in_both_orders_of_the_jids(accepted, name):
    events = fed(ServerHandshake(accepted), b"\x05\x01\x00\x05\x01\x00\x03\x28" + name.encode() + b"\0\0")
    assert events[-1] == Established(name)


def test_client_and_server_understand_each_other():
    client, server = ClientHandshake(NAME), ServerHandshake([NAME])
    to_server, to_client, outcomes = client.start().data, b"", []
    while to_server or to_client:
        answers, to_server = fed(server, to_server), b""
        to_client += b"".join(event.data for event in answers if isinstance(event, Send))
        requests, to_client = fed(client, to_client), b""
        to_server += b"".join(event.data for event in requests if isinstance(event, Send))
        outcomes += [event for event in answers + requests if not isinstance(event, Send)]
    assert outcomes == [Established(NAME), Established(NAME)]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"\x05\x00\x00\x01\x7f\0\0\x01\0\0", id="IPv4"),
        pytest.param(b"\x05\x00\x00\x04" + bytes(18), id="IPv6"),
    ],
)
def test_a_client_takes_a_relays_own_address_for_an_answer(reply):
    assert fed(ClientHandshake(NAME), b"\x05\x00" + reply)[-1] == Established(NAME)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(b"\x04\x00", id="another version"),
        pytest.param(b"\x05\xff", id="no method"),
        pytest.param(b"\x05\x02", id="a method that was not offered"),
        pytest.param(b"\x05\x00\x05\x01", id="Dino's refusal of two bytes"),
        pytest.param(b"\x05\x00\x05\x04\x00\x03", id="Conversations' refusal"),
        pytest.param(b"\x05\x00\x05\x05\x00\x01", id="Libervia's refusal"),
        pytest.param(b"\x05\x00\x04\x00", id="another version in the reply"),
        pytest.param(b"\x05\x00\x05\x00\x01\x03", id="reserved byte set"),
        pytest.param(b"\x05\x00\x05\x00\x00\x02", id="unknown address type"),
        pytest.param(b"\x05\x00\x05\x00\x00\x03\x28" + OTHER.encode() + b"\0\0", id="another bytestream"),
        pytest.param(b"\x05\x00\x05\x00\x00\x03\x00\0\0", id="empty name"),
    ],
)
def test_a_client_takes_no_other_answer_for_success(wire):
    client = ClientHandshake(NAME)
    events = fed(client, wire)
    assert isinstance(events[-1], Refused)
    assert client.wanted == 0


@pytest.mark.parametrize(
    ("wire", "answer"),
    [
        pytest.param(b"\x04\x01", None, id="SOCKS4"),
        pytest.param(b"GE", None, id="HTTP"),
        pytest.param(b"\x05\x00", None, id="no methods"),
        pytest.param(b"\x05\x02\x01\x02", b"\x05\xff", id="only methods with a password"),
        pytest.param(b"\x05\x01\x00\x04\x01\x00\x03", None, id="another version in the request"),
        pytest.param(b"\x05\x01\x00\x05\x01\x01\x03", None, id="reserved byte set"),
        pytest.param(b"\x05\x01\x00\x05\x02\x00\x03", b"\x05\x07" + REFUSED, id="BIND"),
        pytest.param(b"\x05\x01\x00\x05\x01\x00\x01", b"\x05\x08" + REFUSED, id="an IPv4 address"),
        pytest.param(b"\x05\x01\x00\x05\x01\x00\x03\x00\0\0", b"\x05\x02" + REFUSED, id="empty name"),
        pytest.param(b"\x05\x01\x00" + REQUEST[:-1] + b"\x50", b"\x05\x02" + REFUSED, id="a port"),
        pytest.param(b"\x05\x01\x00" + REQUEST.upper(), b"\x05\x02" + REFUSED, id="upper case"),
        pytest.param(
            b"\x05\x01\x00\x05\x01\x00\x03\x27" + NAME[:39].encode() + b"\0\0", b"\x05\x02" + REFUSED, id="short"
        ),
        pytest.param(
            b"\x05\x01\x00\x05\x01\x00\x03\x28" + b"\xff" * 40 + b"\0\0", b"\x05\x02" + REFUSED, id="not ASCII"
        ),
        pytest.param(
            b"\x05\x01\x00\x05\x01\x00\x03\x28" + OTHER.encode() + b"\0\0", b"\x05\x02" + REFUSED, id="unknown"
        ),
    ],
)
def test_a_server_refuses_everything_but_its_own_bytestream(wire, answer):
    server = ServerHandshake([NAME])
    events = fed(server, wire)
    assert isinstance(events[-1], Refused)
    assert server.wanted == 0
    sent = [event.data for event in events if isinstance(event, Send) and event.data != b"\x05\x00"]
    assert sent == ([] if answer is None else [answer])


def test_a_server_that_accepts_nothing_refuses_every_request():
    assert isinstance(fed(ServerHandshake([]), b"\x05\x01\x00" + REQUEST)[-1], Refused)


CLIENT_WIRES = [b"\x05\x00" + ECHO, b"\x05\x00\x05\x00\x00\x01" + bytes(6), b"\x05\x00\x05\x02\x00\x01"]
SERVER_WIRES = [b"\x05\x03\x02\x00\x01" + REQUEST, b"\x05\x01\x00\x05\x01\x00\x01", b"\x05\x02\x01\x02"]
cuts = st.lists(st.integers(1, 60))


@given(st.sampled_from(CLIENT_WIRES), cuts)
def test_what_a_client_does_depends_on_no_split(wire, cuts):
    assert fed(ClientHandshake(NAME), wire, cuts) == fed(ClientHandshake(NAME), wire)


@given(st.sampled_from(SERVER_WIRES), cuts)
def test_what_a_server_does_depends_on_no_split(wire, cuts):
    assert fed(ServerHandshake([NAME]), wire, cuts) == fed(ServerHandshake([NAME]), wire)


@given(st.binary(max_size=600) | st.binary(max_size=80).map(b"\x05\x01\x00\x05\x01\x00\x03\x28".__add__), cuts)
def test_no_bytes_confuse_a_server(wire, cuts):
    server = ServerHandshake([NAME])
    events = fed(server, wire, cuts)
    ended = [event for event in events if not isinstance(event, Send)]
    assert len(ended) == (server.wanted == 0)
    assert Established(NAME) not in events or REQUEST in wire


@given(st.binary(max_size=600) | st.binary(max_size=80).map(b"\x05\x00\x05\x00\x00\x03".__add__), cuts)
def test_no_bytes_confuse_a_client(wire, cuts):
    client = ClientHandshake(NAME)
    events = fed(client, wire, cuts)
    ended = [event for event in events if not isinstance(event, Send)]
    assert len(ended) == (client.wanted == 0)


@pytest.mark.parametrize("machine", [ClientHandshake(NAME), ServerHandshake([NAME])])
def test_a_handshake_takes_no_byte_of_the_bytestream(machine):
    with pytest.raises(ValueError, match="3 bytes where 2 are wanted"):
        machine.receive(b"\x05\x01\x00")


def test_a_finished_handshake_takes_nothing():
    client = ClientHandshake(NAME)
    fed(client, b"\x05\xff")
    with pytest.raises(ValueError, match="1 bytes where 0"):
        client.receive(b"\0")
    assert client.receive(b"") == []
