"""Network addresses of the machines of a distributed run.

The host name of a machine may resolve to a loopback address. On Debian it is 127.0.1.1,
which other machines cannot reach.
"""

import ipaddress
import socket
import struct
from contextlib import suppress

# Constants of linux/sockios.h. The address follows the name and four more bytes.
GET_ADDRESS, NAME_SIZE, ADDRESS = 0x8915, 16, slice(20, 24)


def source_of(host: str, port: int) -> str:
    """Return the address from which this machine sends to another machine.

    Nothing is sent.

    Raises:
        OSError: The host name is unknown, or there is no route to the host.
    """
    first, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, _, _, place = first
    with socket.socket(family, kind) as way:
        way.connect(place)
        return way.getsockname()[0]


def is_loopback(address: str) -> bool:
    """Return whether an address means the machine itself.

    >>> [is_loopback(address) for address in ('127.0.1.1', '::1', '10.0.0.1')]
    [True, True, False]
    """
    return ipaddress.ip_address(address.partition('%')[0]).is_loopback


def interface_of(address: str) -> str | None:
    """Return the network interface that has an IPv4 address, such as eth0, or None."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        for _, name in socket.if_nameindex():
            asked = struct.pack(f'{NAME_SIZE}s24x', name.encode())
            with suppress(OSError):  # the interface has no address
                found = fcntl.ioctl(way.fileno(), GET_ADDRESS, asked)
                if socket.inet_ntoa(found[ADDRESS]) == address:
                    return name
    return None
