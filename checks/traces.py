"""Tracebacks, cut down to what a learner has written."""

from support import PROJECT

import re
import traceback
from pathlib import Path
from types import FrameType

LOADED = ", while it is loaded"
MOST_FRAMES = 3  # Of the first and of the last lines of a traceback.


def is_learners(file: str) -> bool:
    """Return whether code in this file is what a learner works on."""
    path = Path(file)
    return (path.parent == PROJECT / "workflow" and path.name not in ("types.py", "versions.py")) or (
        path.parent == PROJECT and path.name.startswith("temporal_client")
    )


def shortened(error: BaseException) -> str:
    """Return an error as Python prints it, but of its traceback only the lines in a learner's files."""
    frames = [
        f"{relative(frame.filename)}, line {frame.lineno}, in {frame.name}\n    {frame.line}"
        for frame in outermost_first(traceback.extract_tb(error.__traceback__))
        if is_learners(frame.filename) and frame.name != "<listcomp>"
    ]
    left_out = len(frames) - 2 * MOST_FRAMES
    lines = frames
    if left_out > 1:  # A recursion without an end has a thousand.
        lines = [*frames[:MOST_FRAMES], f"... and {left_out} more ...", *frames[-MOST_FRAMES:]]
    if isinstance(error, SyntaxError) and error.filename:
        lines += [f"{relative(error.filename)}, line {error.lineno}", f"    {(error.text or '').strip()}"]
        return "\n".join([*lines, f"{type(error).__name__}: {error.msg}"])
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])


def outermost_first(frames: traceback.StackSummary) -> list[traceback.FrameSummary]:
    """Return the frames of a traceback in Python's order. The SDK turns that of a blocked workflow's thread round."""
    return frames[::-1] if frames and frames[-1].name == "_bootstrap" else frames


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
    return f"{relative(frame.f_code.co_filename)}, line {frame.f_lineno}, in {frame.f_code.co_name}" if frame else ""


def where_threads_are(dump: str) -> dict[int, str]:
    """Return the innermost of a learner's lines at which each thread is, or nothing, by thread.

    Takes what Python's faulthandler writes. Where a file is being loaded, the line ends with `LOADED`.
    """
    found: dict[int, str] = {}
    thread = 0
    for line in dump.splitlines():
        if begin := re.match(r"(?:Current thread|Thread) 0x([0-9a-f]+)", line):
            thread = int(begin[1], 16)
            found[thread] = ""
        frame = re.match(r'  File "(.*)", line (\d+) in (.*)', line)
        if frame and is_learners(frame[1]):
            found[thread] = found.get(thread) or f"{relative(frame[1])}, line {frame[2]}, in {frame[3]}"
            if frame[3] == "<module>" and not found[thread].endswith(LOADED):
                found[thread] += LOADED
    return found


def relative(file: str) -> str:
    """Return a file's path as a learner knows it: within the project."""
    path = Path(file)
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else file
