"""Networks of their own for workers: a namespace each, and a cable that can be pulled."""

from support.ports import own_addresses
from support.script import UserError

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

# For tests of networks, so that no real one has it (RFC 2544).
NETWORK = "198.18"


@dataclass(frozen=True)
class Namespace:
    """A network namespace that has one cable, to this machine."""

    name: str
    address: str
    """Of this machine, at its end of the cable."""

    @property
    def enter(self) -> list[str]:
        """How a command begins that is to run in it."""
        return ["ip", "netns", "exec", self.name]

    def set_cable(self, state: str) -> None:
        """Pull the cable, by `down`, or plug it in again, by `up`."""
        _ip("-netns", self.name, "link", "set", "eth0", state)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def why_not() -> str:
    """Return in words why no network namespace can be made here, or nothing if one can."""
    if shutil.which("ip") is None:
        return "there is no program `ip`"
    if os.geteuid() != 0:
        return "only root may"
    name = f"workshop-{os.getpid()}-0"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except (OSError, subprocess.CalledProcessError) as error:
        return str(getattr(error, "stderr", "") or error).strip()
    return ""


@contextlib.contextmanager
def namespace(number: int) -> Iterator[Namespace]:
    """Within this, there is a network namespace. Its `number` is the first free one from 1 on.

    Raises `UserError` if it can't be made.
    """
    name, cable = f"workshop-{os.getpid()}-{number}", f"ws{os.getpid()}-{number}"
    while True:
        # The last two numbers of the addresses come from 14 bits: a network of four, two of which are for the ends.
        here = random.SystemRandom().randrange(2**14) * 4
        ours, its = [f"{NETWORK}.{end // 256}.{end % 256}" for end in (here + 1, here + 2)]
        if ours not in own_addresses():
            break
    made = Namespace(name, ours)
    try:
        _ip("netns", "add", name)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("address", "add", f"{ours}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _ip("-netns", name, "address", "add", f"{its}/30", "dev", "eth0")
        _ip("-netns", name, "link", "set", "lo", "up")
        made.set_cable("up")
        yield made
    except subprocess.CalledProcessError as error:
        raise UserError(f"The network of a worker can't be changed: {error.stderr.strip()}") from error
    finally:
        for leftover in (["link", "delete", cable], ["netns", "delete", name]):
            subprocess.run(["ip", *leftover], capture_output=True)
