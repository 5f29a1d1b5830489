"""Which addresses are nobody's business: explicit lists, no I/O.

`ipaddress.is_global` of Python 3.11 calls NAT64, 6to4, fec0::/10, multicast and
::127.0.0.1 global, so it is not asked.
"""

from __future__ import annotations

import socket
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


DENIED = _networks(
    "0.0.0.0/8",  # this network: 0.0.0.0 reaches the machine itself
    "10.0.0.0/8",
    "100.64.0.0/10",  # carrier-grade NAT (RFC 6598)
    "127.0.0.0/8",
    "169.254.0.0/16",  # link-local, cloud metadata
    "172.16.0.0/12",
    "192.0.0.0/24",  # IETF protocol assignments
    "192.0.2.0/24",  # documentation (RFC 5737), as the two further down
    "192.88.99.0/24",  # 6to4 relays
    "192.168.0.0/16",
    "198.18.0.0/15",  # benchmarking (RFC 2544)
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, broadcast
    # Of IPv6 only 2000::/3 is global unicast. The next three are all the rest:
    "::/3",  # unspecified, loopback, IPv4-compatible, 64:ff9b:1::/48, 100::/64
    "4000::/2",
    "8000::/1",  # fc00::/7, fe80::/10, fec0::/10, ff00::/8
    "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking
    "2001:db8::/32",  # documentation, as 3fff::/20
    "2002::/16",  # 6to4: any IPv4 address inside
    "3fff::/20",
)

# Reached only when the allow-list has a CIDR of its own inside one of these.
LINK_LOCAL_AND_METADATA = _networks(
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",  # Alibaba Cloud
    "168.63.129.16/32",  # Azure; a public address
    "192.0.0.192/32",  # Oracle Cloud
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google Cloud
)

# What a host name in the allow-list may turn out to be.
ALLOWED_BY_HOST_NAME = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
)

_NAT64 = IPv6Network("64:ff9b::/96")


def within(address: Address, networks: tuple[Network, ...]) -> bool:
    """Tell whether any of the networks contains the address."""
    return any(address in network for network in networks)


def judged_as(address: Address) -> Address:
    """Give the address to judge: the IPv4 one inside a mapped or NAT64 address.

    The kernel sends ::ffff:0:0/96 to the IPv4 address, a NAT64 gateway does so
    with 64:ff9b::/96 (RFC 6052). 6to4 and Teredo are denied as they stand.
    """
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def literal_address(host: str) -> Address | None:
    """Read a host that is an address, in any spelling a socket would take, or give None.

    `2130706433`, `0x7f.1`, `127.1` and `0177.0.0.1` all are 127.0.0.1 to the C
    library. Raises ValueError for a number that is no address, such as 1.2.3.4.5.
    """
    name = host.strip("[]").rstrip(".")
    if ":" in name:
        return ip_address(name)
    if not _looks_numeric(name):
        return None
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        raise ValueError("the host is a number but not an IP address") from None


def _looks_numeric(name: str) -> bool:
    # The rule of browsers: a last label that is a number makes the whole host one.
    last = name.rpartition(".")[2]
    return last.isdigit() or last[:2].lower() == "0x"
