"""Addresses of the machines of a run, whose own names may mean the machine itself.

Debian gives a machine's own name the address 127.0.1.1, which no other one reaches.
"""

import ipaddress
import socket
import struct
from contextlib import suppress

# Of linux/sockios.h; the address stands after the name and four bytes more.
GET_ADDRESS, NAME_SIZE, ADDRESS = 0x8915, 16, slice(20, 24)


def source_of(host: str, port: int) -> str:
    """Return the address of this machine from which it sends to another.

    Nothing is sent.

    Raises:
        OSError: The other's name is unknown, or no way leads there.
    """
    first, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, _, _, place = first
    with socket.socket(family, kind) as way:
        way.connect(place)
        return way.getsockname()[0]


def is_loopback(address: str) -> bool:
    """Tell whether an address means the machine itself.

    >>> [is_loopback(address) for address in ('127.0.1.1', '::1', '10.0.0.1')]
    [True, True, False]
    """
    return ipaddress.ip_address(address.partition('%')[0]).is_loopback


def interface_of(address: str) -> str | None:
    """Return the name of the network interface with an IPv4 address, such as eth0."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        for _, name in socket.if_nameindex():
            asked = struct.pack(f'{NAME_SIZE}s24x', name.encode())
            with suppress(OSError):  # it has none
                found = fcntl.ioctl(way.fileno(), GET_ADDRESS, asked)
                if socket.inet_ntoa(found[ADDRESS]) == address:
                    return name
    return None
