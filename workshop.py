"""The workshop's helper: is this machine ready, where do I begin, is it right, what does the solution change?

python workshop.py doctor
python workshop.py start 1
python workshop.py check 1
python workshop.py diff 1
python workshop.py demo
"""

import argparse
import ast
import asyncio
import difflib
import importlib
import inspect
import itertools
import re
import shutil
import sys
import time
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

if sys.version_info < (3, 10):  # noqa: UP036 - Whoever has an older one is told so.
    sys.exit("The workshop needs Python 3.10 or newer: make PYTHON=python3.12 demo")
try:
    from temporal_connection import UserError, connect, connect_config, run_script, stop_event, web_ui_link
except ImportError as error:
    remedy = "Once `make demo` has installed everything, in each terminal: source .venv/bin/activate"
    sys.exit(f"A package is missing in this Python, or too old: {error}. {remedy}")
from temporalio.service import RPCError

from temporal_server import find_temporal_cli, installed_cli, port_is_taken
from temporal_worker import RUN_FOLDER, running_worker
from tests.exercises.check import check, check_settings, colored
from tests.exercises.judge import TITLES
from workflow import VersionError, find_version, version_name

PROJECT = Path(__file__).parent
DEMO_VERSION = "v6"
DEMO_PACE = "0.3"
SERVER_LOG = RUN_FOLDER / "demo_server.log"
WORKER_LOG = RUN_FOLDER / "demo_worker.log"

NEXT_STEPS = """
What to do next:
  Look at this run in the Web UI: {link}
  Then begin with exercise 0 in README.md. Its commands need the environment that `make` has just made:
      source .venv/bin/activate"""

WORKFLOW = PROJECT / "workflow" / "system_patch_workflow_mine.py"
ACTIVITIES = PROJECT / "workflow" / "activities_mine.py"
CLIENT = PROJECT / "temporal_client_mine.py"
OLD = PROJECT / "old"
EXERCISES_WITH_ACTIVITIES = (3, 6)
QUICK_EXERCISES = (1, 4, 5)  # The others want to be watched.
# The functions of the client that a learner writes, and in which exercise.
CLIENT_FUNCTIONS = {"answer_approval": 1, "print_progress": 2}


# start


def start(number: int, force: bool) -> int:
    """Make a learner's files for an exercise. Returns the exit code.

    Raises `UserError` if there are such files already, unless `force` has them kept aside.
    """
    existing = [file for file in (WORKFLOW, ACTIVITIES, CLIENT) if file.exists()]
    if existing and not force:
        raise UserError(
            f"You have files already, {for_exercise()}: {', '.join(file.name for file in existing)}. "
            f"To move them to the folder {OLD.name}/ and begin anew: python workshop.py start {number} --force"
        )
    if existing:
        folders = (
            OLD / f"{for_exercise().replace(' ', '_').removeprefix('for_')}_{copy}" for copy in itertools.count(1)
        )
        aside = next(folder for folder in folders if not folder.exists())
        aside.mkdir(parents=True)
        for file in existing:
            file.rename(aside / file.name)
    files = {WORKFLOW: learners_workflow(number), CLIENT: learners_client(number)}
    if number in EXERCISES_WITH_ACTIVITIES:
        files[ACTIVITIES] = learners_activities(number)
    for file, text in files.items():
        file.write_text(text)
    if existing:
        print(f"Your old files are in {aside.relative_to(PROJECT)}.")
    print(f"Exercise {number}: {TITLES[number]}. Your files, for now as in version {number}:")
    for file in files:
        print(f"  {file.relative_to(PROJECT)}")
    print(
        f"""
Try them, each in a terminal of its own:
  python temporal_worker.py mine{" --pace 0.2" if number in QUICK_EXERCISES else ""}
  python temporal_client_mine.py
Then read on in README.md. When you think you are done: python workshop.py check {number}"""
    )
    return 0


def for_exercise() -> str:
    """Return for which exercise a learner's workflow was made, in words."""
    found = re.match(r"# Exercise (\d)", WORKFLOW.read_text()) if WORKFLOW.exists() else None
    return f"for exercise {found[1]}" if found else "for no known exercise"


def learners_workflow(number: int) -> str:
    """Return the starting point of an exercise: a version's workflow, its classes named `..._Mine`."""
    text = (PROJECT / "workflow" / f"system_patch_workflow_v{number}.py").read_text()
    text = rename_classes(text, f"V{number}", "Mine")
    if number in EXERCISES_WITH_ACTIVITIES:
        text = re.sub(
            r"from workflow\.activities import .*",
            "from workflow.activities_mine import SystemPatchActivities_Mine as SystemPatchActivities",
            text,
        )
    return f"# Exercise {number}: your own copy of version {number}.\n{text}"


def rename_classes(text: str, old: str, new: str) -> str:
    """Return the code of a workflow with its classes named by another version."""
    return re.sub(rf"\b(SystemPatchWorkflow\w*)_{old}\b", rf"\1_{new}", text)


def learners_activities(number: int) -> str:
    """Return the file for a learner's own activities: a class that so far is the starting point's."""
    name = find_version(f"v{number}").activities.__name__
    return f'''"""Your own activities for exercise {number}."""

from temporalio import activity

from workflow.activities import {name}
from workflow.types import HostPatchInput


class SystemPatchActivities_Mine({name}):
    """All activities of version {number}. One that you write here takes the place of the one with the same name."""
'''


def learners_client(number: int) -> str:
    """Return the client without the body of each function that is written in this exercise or a later one."""
    text = (PROJECT / "temporal_client.py").read_text()
    lines = text.splitlines(keepends=True)
    for node in reversed(ast.parse(text).body):
        if isinstance(node, ast.AsyncFunctionDef) and CLIENT_FUNCTIONS.get(node.name, 0) >= number:
            docstring, *body = node.body
            lines[docstring.end_lineno : body[-1].end_lineno] = [
                f"    # Exercise {CLIENT_FUNCTIONS[node.name]}: your code goes here.\n"
            ]
    text = "".join(lines)
    text = text.replace("python temporal_client.py v3", f"python {CLIENT.name}")
    return text.replace('default="v1"', 'default="mine"').replace("(default: v1)", "(default: mine)")


# check


async def check_files(number: int, version: str | None) -> int:
    """Judge a version, by default a learner's own (in exercise 0 version 1). Ends the process: 0 if all is right."""
    name = version or ("v1" if number == 0 else "mine")
    if name == "mine" and not WORKFLOW.exists():
        raise UserError(f"You have no files of your own yet: python workshop.py start {number}")
    try:
        name = version_name(name)
    except VersionError as error:
        raise UserError(str(error)) from None
    await check(number, name, CLIENT if name == "mine" and CLIENT.exists() else PROJECT / "temporal_client.py")


# diff


def diff(number: int, mine: bool) -> int:
    """Print what the solution changes, or how a learner's files differ from it. Returns the exit code."""
    solution = f"v{number + 1}"
    after = (PROJECT / "workflow" / f"system_patch_workflow_{solution}.py").read_text()
    if mine:
        if not WORKFLOW.exists():
            raise UserError(f"You have no files of your own yet: python workshop.py start {number}")
        before = re.sub(r"^# Exercise .*\n", "", WORKFLOW.read_text())
        before = rename_classes(before, "Mine", solution.upper())
        if imported := re.search(r"from workflow\.activities import .*", after):
            before = re.sub(r"from workflow\.activities_mine import .*", imported[0], before)
        label = str(WORKFLOW.relative_to(PROJECT))
    else:
        before = (PROJECT / "workflow" / f"system_patch_workflow_v{number}.py").read_text()
        before = rename_classes(before, f"V{number}", solution.upper())
        label = f"workflow/system_patch_workflow_v{number}.py"
    changes = [(label, before, f"workflow/system_patch_workflow_{solution}.py", after)]
    changes += changed_activities(number, mine)
    if number in CLIENT_FUNCTIONS.values():
        own = CLIENT.read_text() if mine and CLIENT.exists() else learners_client(number)
        changes.append((CLIENT.name, own, "temporal_client.py", learners_client(number + 1)))
    lines = [line for change in changes for line in unified(*change)]
    print("\n".join(lines) if lines else "No difference.")
    return 0


def changed_activities(number: int, mine: bool) -> list[tuple[str, str, str, str]]:
    """Return the activities that the solution changes: label and code before, label and code after."""
    before, after = (find_version(f"v{version}").activities for version in (number, number + 1))
    own = before
    if mine and ACTIVITIES.exists():
        try:
            own = importlib.import_module("workflow.activities_mine").SystemPatchActivities_Mine
        except Exception as error:
            raise UserError(f"{ACTIVITIES.relative_to(PROJECT)} can't be loaded: {error}") from error
    return [
        (f"{own.__name__}.{name}", source(own, name), f"{after.__name__}.{name}", source(after, name))
        for name in dir(after)
        if name.endswith("_activity") and getattr(before, name) is not getattr(after, name)
    ]


def source(activities: type, name: str) -> str:
    """Return the code of an activity."""
    return inspect.getsource(getattr(activities, name))


def unified(before_label: str, before: str, after_label: str, after: str) -> Iterator[str]:
    """Return the lines of a unified diff, in color at a terminal."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), before_label, after_label, lineterm="")
    for line in lines:
        bold = line.startswith(("---", "+++"))
        yield colored(line, 1 if bold else {"+": 32, "-": 31, "@": 36}.get(line[:1], 0))


# doctor


async def doctor() -> int:
    """Print a line for everything that an exercise needs. Returns 0 if a learner can begin, else 1."""
    ready = True
    async for mark, text in findings():
        ready = ready and mark != "TO DO"
        print(f"{colored(f'{mark:<6}', {'ok': 32, 'TO DO': 31}.get(mark, 0))} {text}", flush=True)
    print("\nYou can begin." if ready else "\nDo what is marked TO DO, then ask again.")
    return 0 if ready else 1


async def findings() -> AsyncIterator[tuple[str, str]]:
    """Yield a mark (ok, TO DO, or - for what is just to be known) and a line, one for each thing."""
    yield "ok", f"Python {sys.version.split()[0]}"
    try:
        packages = [f"{name} {installed_version(name)}" for name in ("temporalio", "pytest", "pytest-asyncio")]
        yield "ok", f"Packages: {', '.join(packages)}"
    except PackageNotFoundError as error:
        yield "TO DO", f"Packages: {error.name} is missing. `make demo` installs all: then source .venv/bin/activate"
    if cli := await installed_cli():
        yield "ok", f"Server binary: {cli}"
    else:
        yield "TO DO", "Server binary: not there yet. Get it: python temporal_server.py --find-cli"
    async for finding in server_findings():
        yield finding
    workers = [(name, running_worker(name)) for name in names_of_pid_files()]
    running = [f"{name} (process {process})" for name, process in workers if process is not None]
    yield "-", f"Worker: {', '.join(running) or 'none is running from this folder'}"
    yield (
        "-",
        f"Your files: {for_exercise() if WORKFLOW.exists() else 'none yet. Make them: python workshop.py start 1'}",
    )
    yield "-", f"Docker, for exercise 7 only: {await docker()}"


async def server_findings() -> AsyncIterator[tuple[str, str]]:
    """Yield what there is to say about the server, its Web UI, and their ports."""
    address = "the server"
    try:
        address = connect_config()["target_host"]
        client = await asyncio.wait_for(connect(), 3)
        await client.count_workflows()  # The namespace exists.
        yield "ok", f"Server: {address} answers, namespace {client.namespace}"
    except (UserError, asyncio.TimeoutError) as error:
        yield "TO DO", f"Server: {str(error) or f'{address} does not answer'}"
        host, _, port = address.rpartition(":")
        if host in ("localhost", "127.0.0.1"):
            remedy = "Use others: python temporal_server.py --port 7300, then export TEMPORAL_ADDRESS=localhost:7300"
            ports = [int(port), int(port) + 1000]
            taken = " and ".join(str(number) for number in ports if port_is_taken(number))
            yield (
                ("TO DO", f"Ports: another program has taken {taken}. {remedy}")
                if taken
                else (
                    "ok",
                    f"Ports: {ports[0]} and {ports[1]} are free for server and Web UI",
                )
            )
        return
    except RPCError as error:
        yield "TO DO", f"Server: {address} answers with an error: {error.message}"
        return
    web_ui = "{0.scheme}://{0.netloc}".format(urlsplit(web_ui_link(client, "", None)))
    try:
        await asyncio.to_thread(urllib.request.urlopen, web_ui, timeout=5)
        yield "ok", f"Web UI: {web_ui} answers"
    except (OSError, ValueError) as error:
        yield "TO DO", f"Web UI: {web_ui} does not answer ({error}). If it is elsewhere, say so in TEMPORAL_UI_URL"


def names_of_pid_files() -> list[str]:
    """Return the names of the versions of which a worker has left its process id."""
    prefix = "temporal_worker_"
    return sorted(file.stem.removeprefix(prefix) for file in RUN_FOLDER.glob(f"{prefix}*.pid"))


async def docker() -> str:
    """Return in words whether there is a Docker engine."""
    if shutil.which("docker") is None:
        return "not installed"
    process = await asyncio.create_subprocess_exec(
        *("docker", "info", "--format", "{{.ServerVersion}}"), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 10)
    except asyncio.TimeoutError:
        process.kill()
        return "installed, but its engine does not answer"
    version = output.decode().strip()
    return f"engine {version}" if process.returncode == 0 and version else "installed, but its engine is not running"


# demo


async def start_script(script: str, *arguments: str, log: IO[bytes] | None = None) -> Process:
    """Start one of the workshop's scripts in the background. A Ctrl-C at the terminal does not reach it."""
    command = [sys.executable, str(PROJECT / script), *arguments]
    return await asyncio.create_subprocess_exec(
        *command, cwd=PROJECT, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


async def stop_script(process: Process) -> None:
    """Stop a script as SIGTERM does, or if it takes over 15 seconds, by force."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except asyncio.TimeoutError:
            process.kill()
            await process.wait()


async def ensure_server() -> Process | None:
    """Start the development server and wait for it. Returns its process, or None where a server answered already."""
    try:
        client = await connect()
        print(f"Using the Temporal server at {client.service_client.config.target_host}.", flush=True)
        return None
    except UserError:
        host, _, port = connect_config()["target_host"].rpartition(":")
        if host not in ("localhost", "127.0.0.1"):
            raise
    await find_temporal_cli()  # Downloads or builds it where there is none, and says so.
    with SERVER_LOG.open("wb") as log:
        server = await start_script("temporal_server.py", "--port", port, log=log)
    try:
        while server.returncode is None:
            try:
                await connect()
                await asyncio.open_connection("127.0.0.1", int(port) + 1000)  # The Web UI comes last.
                print(
                    f"Temporal server started: localhost:{port}, Web UI http://localhost:{int(port) + 1000}", flush=True
                )
                return server
            except (UserError, OSError):
                await asyncio.sleep(0.2)
    except asyncio.CancelledError:
        await stop_script(server)
        raise
    raise UserError(SERVER_LOG.read_text().strip() or "The Temporal server ended at its start, without a word.")


async def patch_once() -> int:
    """Run a worker and a client for one full patch. Returns the client's exit code."""
    version = find_version(DEMO_VERSION)
    with WORKER_LOG.open("wb") as log:
        worker = await start_script("temporal_worker.py", version.name, "--pace", DEMO_PACE, log=log)
    try:
        client = await start_script("temporal_client.py", version.name)
        try:
            return await client.wait()
        finally:
            await stop_script(client)
    finally:
        await stop_script(worker)


async def demo() -> int:
    """Run the workshop's whole process once, on a real server. Returns 0, 130 if stopped, or what the client returned.

    At a terminal, the server that it started and its Web UI then stay up until Enter or Ctrl-C.
    """
    stopped = asyncio.create_task(stop_event().wait())
    server: Process | None = None
    code = 130

    async def run_demo() -> None:
        nonlocal server, code
        server = await ensure_server()
        print(f"\nA worker and a client of {DEMO_VERSION} patch three clusters of five hosts each.", flush=True)
        started = time.monotonic()
        code = await patch_once()
        if code != 0:
            print(f"The demo failed. What the worker said: {WORKER_LOG.relative_to(PROJECT)}", file=sys.stderr)
            return
        print(f"\nDone: 15 hosts patched, {time.monotonic() - started:.0f} s with the start of worker and client.")
        client = await connect()
        description = await client.get_workflow_handle(find_version(DEMO_VERSION).workflow_id).describe()
        print(NEXT_STEPS.format(link=web_ui_link(client, description.id, description.run_id)), flush=True)
        if server is not None and sys.stdin.isatty() and sys.stdout.isatty():
            print("\nServer and Web UI stay up until you press Enter or Ctrl-C.", flush=True)
            pressed = asyncio.Event()
            asyncio.get_running_loop().add_reader(sys.stdin, pressed.set)
            await pressed.wait()

    running = asyncio.create_task(run_demo())
    try:
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        else:
            running.result()
        return code
    finally:
        if server is not None:
            await stop_script(server)
            print("Server stopped. Start it again with: python temporal_server.py", flush=True)


def main() -> None:
    """Read the command line and run the command that it names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("doctor", help="say what is ready on this machine, and what is not")
    starting = commands.add_parser("start", help="make your own files for an exercise")
    starting.add_argument("exercise", type=int, choices=range(1, 7), help="number of the exercise, 1 to 6")
    starting.add_argument("--force", action="store_true", help="move the files that you have to old/, and begin anew")
    checking = commands.add_parser("check", help="try out your files, on a server of its own")
    checking.add_argument(
        "exercise",
        type=int,
        choices=range(8),
        help="number of the exercise, 0 to 7; in 7, flags of temporal_worker_v8.py can follow, which are checked then",
    )
    checking.add_argument("--version", help="check this version, such as v2, instead of your own files")
    diffing = commands.add_parser("diff", help="show what the solution of an exercise changes")
    diffing.add_argument("exercise", type=int, choices=range(1, 8), help="number of the exercise, 1 to 7")
    diffing.add_argument("--mine", action="store_true", help="compare your own files with the solution")
    commands.add_parser("demo", help="run one full patch on a real server, with all that it takes")
    arguments, flags = parser.parse_known_args()
    arguments.flags = flags
    if flags and (arguments.command, vars(arguments).get("exercise")) != ("check", 7):
        parser.error(f"unrecognized arguments: {' '.join(flags)}")
    if arguments.command == "diff" and arguments.mine and arguments.exercise == 7:
        parser.error("--mine: there is nothing to write in exercise 7")
    RUN_FOLDER.mkdir(exist_ok=True)
    run_script(lambda: run_command(arguments), "Stopped.")


async def run_command(arguments: argparse.Namespace) -> int:
    """Run the command that the command line names. Returns the exit code."""
    if arguments.command == "doctor":
        return await doctor()
    if arguments.command == "start":
        return start(arguments.exercise, arguments.force)
    if arguments.command == "check" and arguments.exercise == 7:
        return await check_settings(arguments.flags)
    if arguments.command == "check":
        return await check_files(arguments.exercise, arguments.version)
    if arguments.command == "diff":
        return diff(arguments.exercise, arguments.mine)
    return await demo()


if __name__ == "__main__":
    main()
