"""What a check prints: the steps as they pass, and in the end what is wrong, if anything."""

from checks.failure import CheckFailure, Step
from support.terminal import GREEN, RED, colored

import sys
import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:  # Not loaded with every command, for they load pytest.
    from checks.exercise_9 import Mistake
    from checks.test_runs import Outcome

WIDTH = 110


class Report:
    """Prints the steps of one check. At a terminal, a last line shows which one is under way."""

    def __init__(self) -> None:
        """Begin with no step."""
        self.done = 0
        self._under_way = Console().status("") if sys.stdout.isatty() else None

    def begin(self, step: Step) -> None:
        """Show that a step is under way."""
        if self._under_way is not None:
            self._under_way.update(escape(f"{self.done + 1}. {step.title}"))
            self._under_way.start()

    def end(self) -> None:
        """Show no step any more."""
        if self._under_way is not None:
            self._under_way.stop()

    def passed(self, step: Step) -> None:
        """Print a step that passed."""
        self.done += 1
        print(f"  {colored('ok', GREEN)}    {self.done}. {step.title}", flush=True)

    def mistake(self, mistake: "Mistake", noticed_by: "Outcome | None") -> None:
        """Print whether a mistake is noticed, and by which test."""
        if noticed_by is None:
            sign, told = colored("--", RED), f"noticed by no test (point {mistake.point})"
        else:
            sign, told = colored("ok", GREEN), noticed_by.name or "the file"
            if not noticed_by.says.startswith("fails"):
                told += f", which {noticed_by.says}"
        print(
            textwrap.fill(f"        {sign}  {mistake.name}: {told}", width=WIDTH, subsequent_indent=" " * 12),
            flush=True,
        )

    def remark(self, text: str) -> None:
        """Print what is to be said beside the verdict."""
        print("\n" + textwrap.fill(f"By the way: {text}", width=WIDTH, subsequent_indent=" " * 12), flush=True)

    def failed(self, step: Step, failure: CheckFailure) -> None:
        """Print a step that is not done, and why."""
        print(f"  {colored('FAIL', RED)}  {self.done + 1}. {step.title}\n")
        for label, text in (("Seen", failure.seen), ("Expected", failure.expected), ("Look at", str(step.where))):
            print(textwrap.fill(f"{label + ':':<10}{text}", width=WIDTH, subsequent_indent=" " * 10))
        if failure.lines:
            print(f"\n{textwrap.indent(failure.lines, ' ' * 10)}")
        sys.stdout.flush()
