"""What is printed at a terminal."""

import os
import sys

GREEN, RED, YELLOW, CYAN, BOLD, PLAIN = 32, 31, 33, 36, 1, 0


def colored(text: str, color: int) -> str:
    """Return the text in an ANSI color at a terminal, and as it is elsewhere, or with NO_COLOR."""
    return f"\033[{color}m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text
