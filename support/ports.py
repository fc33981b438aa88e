"""Ports of this machine.

`python -m support.ports 9090 3000` ends with exit code 1 if another program holds one of them, and says so.
"""

import random
import socket
import sys

UI_PORT_DISTANCE = 1000  # The development server has its Web UI so many ports above its own.
# Below the ports that a system gives to outgoing connections, of which any may be taken a moment later.
FREE_PORTS = range(10_000, 31_000)
_given: set[int] = set()


def port_is_taken(port: int) -> bool:
    """Return whether another program listens on this port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


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
