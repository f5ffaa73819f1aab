"""The addresses of this machine: what to listen on and to offer, and which networks are on our links.

Reads the system's interfaces, nothing else. Which of a peer's addresses may be dialled is decided in
`jetcli.protocol.policy`, and whether ours are told to a peer by the caller.
"""

import ipaddress
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import ifaddr

from jetcli.protocol.policy import Network

Interface = IPv4Interface | IPv6Interface

#: Bridges to containers and virtual machines of this very machine: no peer outside can reach their addresses, and some
#: clients try every address for seconds. Inside a container the interface has an ordinary name.
_INSIDE_ONLY = ("docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "lxcbr", "lxdbr", "podman", "cni")


def own_addresses(*, loopback: bool = False) -> tuple[str, ...]:
    """Return our addresses that a peer could reach, as literals: global ones first, loopback last and only if asked."""
    offered = {
        interface.ip
        for name, interface in _interfaces()
        if not name.startswith(_INSIDE_ONLY) and _worth_offering(interface.ip, loopback=loopback)
    }
    return tuple(map(str, sorted(offered, key=_reach)))


def networks_on_link(*, loopback: bool = False) -> tuple[Network, ...]:
    """Return the networks that our interfaces are in, for `policy.why_not_dial`."""
    return tuple(
        {
            interface.network: None
            for _, interface in _interfaces()
            if interface.network.num_addresses > 1 and _worth_offering(interface.ip, loopback=loopback)
        }
    )


def _interfaces() -> Iterator[tuple[str, Interface]]:
    for adapter in ifaddr.get_adapters():
        for address in adapter.ips:
            # An IPv6 address comes with flow information and scope.
            host = address.ip if isinstance(address.ip, str) else address.ip[0]
            yield str(adapter.nice_name), ipaddress.ip_interface(f"{host}/{address.network_prefix}")


def _worth_offering(address: IPv4Address | IPv6Address, *, loopback: bool) -> bool:
    if address.is_loopback:
        return loopback
    return not (address.is_link_local or address.is_multicast or address.is_unspecified)


def _reach(address: IPv4Address | IPv6Address) -> tuple[bool, bool, int, int]:
    return (address.is_loopback, not address.is_global, address.version, int(address))
