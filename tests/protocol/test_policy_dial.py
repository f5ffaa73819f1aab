"""Which addresses a peer may make us dial, and which not."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetcli.protocol.policy import (
    why_not_dial,
)

OUR_NETWORKS = [ip_network("192.168.7.0/24"), ip_network("fd00:7::/64"), ip_network("fe80::/64")]


MAY_BE_DIALLED = [
    "8.8.8.8",
    "::ffff:8.8.8.8",
    "2001:4860:4860::8888",
    "192.168.7.20",
    "::ffff:192.168.7.20",
    "fd00:7::20",
]


MUST_NOT_BE_DIALLED = [
    ("", "not an IP address"),
    ("proxy.example.org", "not an IP address"),
    ("localhost", "not an IP address"),
    ("127.1", "not an IP address"),
    ("2130706433", "not an IP address"),
    ("0x7f000001", "not an IP address"),
    ("010.0.0.1", "not an IP address"),
    ("8.8.8.8 ", "not an IP address"),
    ("８.8.8.8", "not an IP address"),
    ("[2001:4860:4860::8888]", "not an IP address"),
    ("fe80::1%eth0", "not an IP address"),
    ("2001:4860:4860::8888%1", "not an IP address"),
    ("127.0.0.1", "address of this machine"),
    ("127.255.255.254", "address of this machine"),
    ("::1", "address of this machine"),
    ("::ffff:127.0.0.1", "address of this machine"),
    ("0.0.0.0", "address of this machine or link"),
    ("::", "address of this machine or link"),
    ("::ffff:0.0.0.0", "address of this machine or link"),
    ("169.254.169.254", "address of this machine or link"),
    ("::ffff:169.254.169.254", "address of this machine or link"),
    ("fe80::1", "address of this machine or link"),
    ("224.0.0.1", "not a unicast address of a host"),
    ("239.255.255.250", "not a unicast address of a host"),
    ("::ffff:224.0.0.1", "not a unicast address of a host"),
    ("ff02::1", "not a unicast address of a host"),
    ("ff0e::1", "not a unicast address of a host"),
    ("::127.0.0.1", "not a unicast address of a host"),
    ("::8.8.8.8", "not a unicast address of a host"),
    ("::ffff:0:7f00:1", "not a unicast address of a host"),
    ("64:ff9b::7f00:1", "not a unicast address of a host"),
    ("64:ff9b::c0a8:714", "not a unicast address of a host"),
    ("64:ff9b:1::7f00:1", "not a unicast address of a host"),
    ("2002:7f00:1::1", "not a unicast address of a host"),
    ("2001:0:7f00:1::1", "not a unicast address of a host"),
    ("2a00:1450::5efe:7f00:1", "not a unicast address of a host"),
    ("2a00:1450::200:5efe:7f00:1", "not a unicast address of a host"),
    ("fec0::1", "not a unicast address of a host"),
    ("192.88.99.1", "not a unicast address of a host"),
    ("100::1", "not a unicast address of a host"),
    ("5f00::1", "not a unicast address of a host"),
    ("3fff::1", "not a unicast address of a host"),
    ("10.255.255.1", "private address outside our networks"),
    ("172.16.0.1", "private address outside our networks"),
    ("192.168.8.20", "private address outside our networks"),
    ("::ffff:192.168.8.20", "private address outside our networks"),
    ("100.64.0.1", "private address outside our networks"),
    ("255.255.255.255", "private address outside our networks"),
    ("240.0.0.1", "private address outside our networks"),
    ("0.1.2.3", "private address outside our networks"),
    ("fd00:8::1", "private address outside our networks"),
    ("2001:db8::1", "private address outside our networks"),
]


@pytest.mark.parametrize("host", MAY_BE_DIALLED)
def test_a_public_address_or_one_of_our_networks_may_be_dialled(host):
    assert why_not_dial(host, 5000, on_link=OUR_NETWORKS) is None


@pytest.mark.parametrize(("host", "reason"), MUST_NOT_BE_DIALLED)
def test_a_hostile_address_is_not_dialled(host, reason):
    assert why_not_dial(host, 5000, on_link=OUR_NETWORKS) == reason


@pytest.mark.parametrize("port", [-1, 0, 22, 80, 1023, 65536, 10**9])
def test_a_port_of_a_system_service_is_not_dialled(port):
    assert why_not_dial("8.8.8.8", port, on_link=[]) == "port outside 1024-65535"
    assert why_not_dial("127.0.0.1", port, on_link=[], loopback=True) == "port outside 1024-65535"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_dialled_only_by_the_setting(host):
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert why_not_dial(host, 5000, on_link=everything) == "address of this machine"
    assert why_not_dial(host, 5000, on_link=[], loopback=True) is None


def test_the_loopback_setting_opens_nothing_else():
    for host, reason in MUST_NOT_BE_DIALLED:
        if reason != "address of this machine":
            assert why_not_dial(host, 5000, on_link=OUR_NETWORKS, loopback=True) == reason


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:", "64:ff9b::", "::"]))
def test_an_embedded_ipv4_address_is_never_freer_than_the_address_itself(address, prefix):
    if why_not_dial(str(address), 5000, on_link=[]) is not None:
        assert why_not_dial(f"{prefix}{address}", 5000, on_link=[]) is not None


@given(st.text(max_size=60), st.integers(-5, 70_000))
def test_no_text_that_is_not_an_address_is_dialled(host, port):
    assert why_not_dial(f"{host}.x", port, on_link=OUR_NETWORKS, loopback=True) == "not an IP address"
