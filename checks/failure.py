"""What a check says: the steps of a task, and what a solution fails by, in plain words."""

from checks.exercises import Place

from dataclasses import dataclass


@dataclass
class Step:
    """A step of the task: what a solution does, and where a learner reads about it."""

    title: str
    where: Place


class CheckFailure(Exception):
    """A step that is not done: what was seen, what was expected, and the learner's own lines if there was an error."""

    def __init__(self, seen: str, expected: str, lines: str = "", *, is_error: bool = False) -> None:
        """Take whole sentences in plain words.

        `is_error` says that it is an error that came from a learner's code, and not what a step was found to do.
        """
        super().__init__()
        self.seen = seen
        self.expected = expected
        self.lines = lines
        self.is_error = is_error

    def __str__(self) -> str:
        """Return all of it."""
        return "\n".join(filter(None, [self.seen, self.expected, self.lines]))
