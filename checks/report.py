"""What a check prints: the steps as they pass, and in the end what is wrong, if anything."""

from checks.failure import CheckFailure, Step
from support.terminal import GREEN, RED, colored

import sys
import textwrap

WIDTH = 110


class Report:
    """Prints the steps of one check."""

    def __init__(self) -> None:
        """Begin with no step."""
        self.done = 0

    def passed(self, step: Step) -> None:
        """Print a step that passed."""
        self.done += 1
        print(f"  {colored('ok', GREEN)}    {self.done}. {step.title}", flush=True)

    def failed(self, step: Step, failure: CheckFailure) -> None:
        """Print a step that is not done, and why."""
        print(f"  {colored('FAIL', RED)}  {self.done + 1}. {step.title}\n")
        for label, text in (("Seen", failure.seen), ("Expected", failure.expected), ("Look at", str(step.where))):
            print(textwrap.fill(f"{label + ':':<10}{text}", width=WIDTH, subsequent_indent=" " * 10))
        if failure.lines:
            print(f"\n{textwrap.indent(failure.lines, ' ' * 10)}")
        sys.stdout.flush()
