"""The address and the interface by which other machines of a training reach this one."""

import os
import socket
import struct
import sys
from collections.abc import Iterator

_SIOCGIFADDR = 0x8915  # of Linux: the IPv4 address of an interface


def own_address(main: str, machines: int) -> str:
    """The IPv4 address of this machine towards the machine ``main``; no packet is sent.

    ``main`` itself, one of several ``machines``, may know its own name as 127.0.1.1, as on Debian: then this is the
    address of the default route or of the first interface. "127.0.0.1" if there is none.
    """
    found = _towards(main)
    if machines > 1 and found.startswith("127."):
        found = _towards("192.0.2.1")  # any address outside would do; this one is for examples (RFC 5737)
        others = (address for _, address in _interfaces() if not address.startswith("127."))
        return next(others, found) if found.startswith("127.") else found
    return found


def let_gloo_use(address: str) -> None:
    """Let gloo listen at the interface with this ``address``. Its own choice is the address of the machine's name."""
    name = next((name for name, one in _interfaces() if one == address), None)
    if name is not None and not address.startswith("127."):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


def _towards(host: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
        except OSError:  # no route, no such name, or an address of IPv6 only
            return "127.0.0.1"


def _interfaces() -> Iterator[tuple[str, str]]:
    """Name and IPv4 address of each interface that has one; none on other systems than Linux."""
    if sys.platform != "linux":
        return
    from fcntl import ioctl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = ioctl(probe, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:  # it has none
                continue
            yield name, socket.inet_ntoa(answer[20:24])
