"""How fast this machine is at the moment."""

from time import monotonic, thread_time  # By name: a check has other clocks in their place for a learner's code.

PIECE_OF_WORK = 0.03  # Seconds of processor time.
BUSY = 4.0  # How many times as long as on an idle machine everything takes where a verdict is in doubt.
REMARK = " But this machine is busy: "


def slowness() -> float:
    """Return how many times as long as on an idle machine a piece of work takes now: 1 or more."""
    begun, processor = monotonic(), thread_time()
    while thread_time() - processor < PIECE_OF_WORK:
        pass
    return max(1.0, (monotonic() - begun) / PIECE_OF_WORK)


def busy_remark() -> str:
    """Return what there is to say after a failure on a machine that has other work, or nothing."""
    slow = slowness()
    return f"{REMARK}what should take a second takes {slow:.0f}. Try again later." if slow > BUSY else ""
