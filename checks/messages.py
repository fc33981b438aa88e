"""What a process that runs a learner's code says to the one that follows it: a file with a line of JSON each.

Not by what it prints, for that is the learner's.
"""

import json
import os
from pathlib import Path
from typing import IO, Any


class Sayer:
    """Says something. Each message is written in one piece, by any thread."""

    def __init__(self, file: Path) -> None:
        """Say it in this file, which is there already."""
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND)

    def say(self, **message: Any) -> None:
        """Say something that can be written as JSON."""
        os.write(self._file, f"{json.dumps(message)}\n".encode())


class Reader:
    """Reads what the other process says."""

    def __init__(self, file: IO[str]) -> None:
        """Read from this file, which is open."""
        self._file = file
        self._rest = ""

    def read(self) -> list[dict[str, Any]]:
        """Return the messages that are new."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
            except ValueError:  # Somebody else has written there, by accident or not.
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages
