import ipaddress
from types import SimpleNamespace

import ifaddr
import pytest

from jetcli.xmpp.addresses import networks_on_link, own_addresses


@pytest.fixture
def interfaces(monkeypatch):
    """Let this machine have the given interfaces: name -> addresses with prefix."""

    def have(**named):
        adapters = [SimpleNamespace(nice_name=name, ips=[ip(text) for text in texts]) for name, texts in named.items()]
        monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)

    return have


def ip(text):
    host, _, prefix = text.partition("/")
    return SimpleNamespace(ip=(host, 0, 0) if ":" in host else host, network_prefix=int(prefix))


def test_global_addresses_come_first_and_those_that_lead_nowhere_are_left_out(interfaces):
    interfaces(
        lo=["127.0.0.1/8", "::1/128"],
        eth0=["192.168.1.7/24", "fe80::1/64", "2a00:1450::5/64", "fd00::2/64"],
        wlan0=["169.254.3.4/16", "8.8.4.4/24"],
    )
    assert own_addresses() == ("8.8.4.4", "2a00:1450::5", "192.168.1.7", "fd00::2")


def test_loopback_is_offered_only_when_asked_and_last(interfaces):
    interfaces(lo=["127.0.0.1/8", "::1/128"], eth0=["192.168.1.7/24"])
    assert own_addresses(loopback=True) == ("192.168.1.7", "127.0.0.1", "::1")


@pytest.mark.parametrize("name", ["docker0", "br-f00d", "veth12", "virbr0"])
def test_bridges_to_our_own_containers_are_not_offered(interfaces, name):
    interfaces(**{name: ["172.17.0.1/16"], "eth0": ["10.0.0.1/8"]})
    assert own_addresses() == ("10.0.0.1",)


def test_an_address_on_two_interfaces_is_offered_once(interfaces):
    interfaces(eth0=["10.0.0.1/8"], eth1=["10.0.0.1/8"])
    assert own_addresses() == ("10.0.0.1",)


def test_the_networks_of_our_interfaces_are_on_link_but_not_those_of_one_address(interfaces):
    interfaces(lo=["127.0.0.1/8"], eth0=["192.168.1.7/24", "fe80::1/64", "fd00::2/64"], tun0=["10.8.0.6/32"])
    assert networks_on_link() == tuple(map(ipaddress.ip_network, ("192.168.1.0/24", "fd00::/64")))
    assert ipaddress.ip_network("127.0.0.0/8") in networks_on_link(loopback=True)


def test_this_machine_has_a_loopback_address():
    assert {"127.0.0.1", "::1"} & set(own_addresses(loopback=True))
