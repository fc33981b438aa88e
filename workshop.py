"""The workshop's helper: where am I, is this machine ready, is it right, what does the solution change?

python workshop.py              where you are, and what comes next
python workshop.py doctor       is this machine ready
python workshop.py start 1      files of your own for exercise 1
python workshop.py check 1      is it right
python workshop.py watch 1      is it right, again whenever you save a file
python workshop.py hint 1       one hint of the page
python workshop.py diff 1       what the solution changes
python workshop.py demo         one full patch on a real server
python workshop.py room         for trainers: where the learners of a room are
python workshop.py kit          for trainers: archives from which others set up without a network
"""

import argparse
import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036 - Whoever has an older one is told so.
    sys.exit("The workshop needs Python 3.10 or newer: make PYTHON=python3.12 demo")
try:
    from checks.exercises import EXERCISES, SOLVED, STARTED, Exercise
    from commands.check import check
    from commands.demo import demo
    from commands.diff import diff
    from commands.doctor import doctor
    from commands.hint import hint
    from commands.kit import FOLDER, PYTHONS, kit, platform_and_path
    from commands.progress import current_exercise
    from commands.room import room
    from commands.start import start
    from commands.status import status
    from commands.watch import watch
    from support.flags import check_learner_name
    from support.script import run_script
except ImportError as error:
    remedy = "Once `make demo` has installed everything, in each terminal: source .venv/bin/activate"
    sys.exit(f"A package is missing in this Python, or too old: {error}. {remedy}")


def numbers_of(exercises: list[Exercise]) -> str:
    """Return the numbers of exercises, in words."""
    *others, last = [str(exercise.number) for exercise in exercises]
    return f"{', '.join(others)} or {last}"


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    every = list(EXERCISES.values())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("doctor", help="say what is ready on this machine, and what is not")
    starting = commands.add_parser("start", help="make your own files for an exercise")
    help = f"number of the exercise, {numbers_of(STARTED)}"
    starting.add_argument("exercise", type=int, choices=EXERCISES, metavar="N", help=help)
    starting.add_argument("--force", action="store_true", help="move the files that you have to old/, and begin anew")
    checking = commands.add_parser("check", help="try out your files, on a server of its own")
    [settings] = [exercise.number for exercise in every if exercise.settings]
    help = f"number of the exercise, {numbers_of(every)}; "
    help += f"in {settings}, flags of temporal_worker_v8.py can follow, which are checked then"
    checking.add_argument("exercise", type=int, choices=EXERCISES, metavar="N", help=help)
    checking.add_argument("--version", help="check this version, such as v2, instead of your own files")
    for name, purpose in (
        ("watch", "check, and again whenever you save one of your files"),
        ("hint", "show a hint, the next time another one"),
    ):
        command = commands.add_parser(name, help=purpose)
        help = f"number of the exercise, {numbers_of(every)} (default: the one that you began or checked last)"
        command.add_argument("exercise", type=int, choices=EXERCISES, nargs="?", metavar="N", help=help)
    diffing = commands.add_parser("diff", help="show what the solution of an exercise changes")
    help = f"number of the exercise, {numbers_of(SOLVED)}"
    diffing.add_argument("exercise", type=int, choices=EXERCISES, metavar="N", help=help)
    diffing.add_argument("--mine", action="store_true", help="compare your own files with the solution")
    board = commands.add_parser("room", help="show where the learners of a room are, who report to this server")
    board.add_argument("--once", action="store_true", help="print it once, and end")
    board.add_argument("--new", action="store_true", help="begin with an empty board, for another group")
    board.add_argument("--anonymous", action="store_true", help="show no names, as on a projector")
    commands.add_parser("demo", help="run one full patch on a real server, with all that it takes")
    packing = commands.add_parser("kit", help="make archives from which others set up without a network")
    packing.add_argument("--python", action="append", choices=PYTHONS, help="for this version only (default: all)")
    help = "the Temporal CLI of another platform, unpacked, to make a kit for that too"
    packing.add_argument(
        "--cli", action="append", default=[], type=platform_and_path, metavar="PLATFORM=PATH", help=help
    )
    packing.add_argument("--into", type=Path, default=FOLDER, help="folder of the archives (default: %(default)s)")
    return parser


def main() -> None:
    """Read the command line and run the command that it names."""
    parser = make_parser()
    arguments, flags = parser.parse_known_args()
    command: str | None = arguments.command
    if command != "doctor":  # Which says so itself.
        check_learner_name(parser)
    exercise = EXERCISES.get(vars(arguments).get("exercise", -1))
    if flags and not (command == "check" and exercise is not None and exercise.settings):
        parser.error(f"unrecognized arguments: {' '.join(flags)}")

    async def run() -> int:
        if command == "doctor":
            return await doctor()
        if command == "demo":
            return await demo()
        if command == "room":
            return await room(arguments.once, arguments.anonymous, arguments.new)
        if command is None:
            return status()
        if command == "watch":
            return await watch(exercise or current_exercise())
        if command == "hint":
            return hint(exercise or current_exercise())
        if command == "kit":
            return await kit(arguments.python or PYTHONS, dict(arguments.cli), arguments.into)
        assert exercise is not None  # All others have one.
        if command == "start":
            return start(exercise, arguments.force)
        if command == "check":
            return await check(exercise, arguments.version, flags)
        return diff(exercise, arguments.mine)

    run_script(run, "Stopped.")


if __name__ == "__main__":
    main()
