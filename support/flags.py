"""Readers of values on the command line, for `argparse`: each raises `ArgumentTypeError` if the text is wrong."""

import argparse
import ipaddress
from collections.abc import Callable


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a reader that takes whole numbers from `lowest` to `highest`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r:.20} is no whole number from {lowest} to {highest}")
        return int(text)

    return read


def metrics_address(text: str) -> str:
    """Return the text as it is. Raises `ArgumentTypeError` if it is not an IP address with a port."""
    host, _, port = text.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
        if (ip.version == 6) != (host[0] + host[-1] == "[]"):
            raise ValueError
        whole_number(1, 65_535)(port)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no IP address with a port, as 127.0.0.1:8087 is") from None
    return text
