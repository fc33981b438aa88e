"""How fast this machine is at the moment."""

import time

PIECE_OF_WORK = 0.03  # Seconds of processor time.


def slowness() -> float:
    """Return how many times as long as on an idle machine a piece of work takes now: 1 or more."""
    begun, processor = time.monotonic(), time.thread_time()
    while time.thread_time() - processor < PIECE_OF_WORK:
        pass
    return max(1.0, (time.monotonic() - begun) / PIECE_OF_WORK)
