"""Readers of values on the command line, for `argparse`: each raises `ArgumentTypeError` if the text is wrong."""

from workflow.activities import HOSTS_PER_CLUSTER
from workflow.versions import Version, VersionError, find_version, learner_name

import argparse
import ipaddress
import re
from collections.abc import Callable


def whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    """Return a reader that takes whole numbers from `lowest` to `highest`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r:.20} is no whole number from {lowest} to {highest}")
        return int(text)

    return read


def named_version(name: str, parser: argparse.ArgumentParser) -> Version:
    """Return the version that `name` names. If there is none, says so and ends the process with exit code 2."""
    try:
        return find_version(name)
    except VersionError as error:
        parser.exit(2, f"{error}\n")


def check_learner_name(parser: argparse.ArgumentParser) -> None:
    """If WORKSHOP_LEARNER can't be part of a name, say so and end the process with exit code 2."""
    try:
        learner_name()
    except VersionError as error:
        parser.exit(2, f"{error}\n")


def pace(text: str) -> float:
    """Return by what the time that simulated work takes is multiplied: a number from 0 to 100."""
    try:
        if 0 <= (number := float(text)) <= 100:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 100, not {text!r:.20}")


def add_hosts_per_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says how many hosts the simulated inventory has for each cluster."""
    parser.add_argument(
        "--hosts-per-cluster",
        type=whole_number(1, 10_000),
        default=HOSTS_PER_CLUSTER,
        metavar="HOSTS",
        help=f"hosts that each cluster has, see exercise 5 (default: {HOSTS_PER_CLUSTER})",
    )


def build_id(text: str) -> str:
    """Return the text as it is, if it can name a build, or is empty for none."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{0,40}", text):
        raise argparse.ArgumentTypeError(f"{text!r:.60} is no name of a build: use letters, digits, '_' and '-'")
    return text


def ip_address(text: str) -> str:
    """Return the text as it is. Raises `ArgumentTypeError` if it is no IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no IP address, as 192.168.1.5 is") from None
    return text


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
