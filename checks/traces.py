"""Tracebacks, cut down to what a learner has written."""

from support import PROJECT

import re
import traceback
from pathlib import Path
from types import FrameType


def is_learners(file: str) -> bool:
    """Return whether code in this file is what a learner works on."""
    path = Path(file)
    return (path.parent == PROJECT / "workflow" and path.name not in ("types.py", "versions.py")) or (
        path.parent == PROJECT and path.name.startswith("temporal_client")
    )


def shortened(error: BaseException) -> str:
    """Return an error as Python prints it, but of its traceback only the lines in a learner's files."""
    lines: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        if is_learners(frame.filename) and frame.name != "<listcomp>":
            lines += [f"{_relative(frame.filename)}, line {frame.lineno}, in {frame.name}", f"    {frame.line}"]
    if isinstance(error, SyntaxError) and error.filename:
        lines += [f"{_relative(error.filename)}, line {error.lineno}", f"    {(error.text or '').strip()}"]
        return "\n".join([*lines, f"{type(error).__name__}: {error.msg}"])
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])


def shortened_output(lines: list[str]) -> str:
    """Return what a process printed last, of a traceback only the lines in a learner's files."""
    kept: list[str] = []
    frame = ""
    for line in lines:
        found = re.match(r' +File "(.*?)", line', line)
        if found:
            frame = found[1]
        elif not line.startswith("    "):
            frame = ""
        if line and (not frame or is_learners(frame)) and not set(line.strip()) <= {"^", "~"}:
            kept.append(line.replace(f"{PROJECT}/", ""))
    return "\n".join(kept[-8:])


def where_it_is(frame: FrameType | None) -> str:
    """Return the innermost of a learner's lines that a thread is at, or nothing."""
    while frame is not None and not is_learners(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{_relative(frame.f_code.co_filename)}, line {frame.f_lineno}, in {frame.f_code.co_name}" if frame else ""


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else file
