"""Ports of this machine.

`python -m support.ports 9090 3000` ends with exit code 1 if another program holds one of them, and says so.
"""

import ipaddress
import random
import socket
import sys

THIS_MACHINE = "127.0.0.1"  # Where nobody else can reach what listens.
UI_PORT_DISTANCE = 1000  # The development server has its Web UI so many ports above its own.
# Below the ports that a system gives to outgoing connections, of which any may be taken a moment later.
FREE_PORTS = range(10_000, 31_000)
_given: set[int] = set()


def port_is_taken(port: int, address: str = THIS_MACHINE) -> bool:
    """Return whether another program listens on this port of this machine, at one of its IP addresses."""
    return not _can_bind(address, port)


def own_addresses() -> list[str]:
    """Return the IP addresses of this machine, but for 127.0.0.1."""
    import psutil  # Not above: a shell script runs this module by whatever Python there is.

    found = [each.address for all_of_one in psutil.net_if_addrs().values() for each in all_of_one]
    return sorted(each for each in found if each != THIS_MACHINE and _can_bind(each, 0))


def _can_bind(address: str, port: int) -> bool:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except (OSError, ValueError):
        return False
    return True


def free_port() -> int:
    """Return a port of this machine on which nothing listens, nor on that of a Web UI which would go with it.

    This process is never given the same port twice.
    """
    while True:
        port = random.SystemRandom().choice(FREE_PORTS)
        if port not in _given and not port_is_taken(port) and not port_is_taken(port + UI_PORT_DISTANCE):
            _given.add(port)
            return port


if __name__ == "__main__":
    for text in sys.argv[1:]:
        if port_is_taken(int(text)):
            sys.exit(f"Port {text} is taken by another program: stop that one first.")
