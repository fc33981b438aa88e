"""The pages: their commands, run as a learner types them, and what pages and code say of each other."""

from checks.exercises import EXERCISES, SOLVED, STARTED, TROUBLESHOOTING, Exercise, Place
from checks.judge import LOADS, REPLAYS
from checks.names import YES
from support import PROJECT
from support.ports import free_port
from support.processes import Process
from tests.conftest import Run
from tests.learner import NAMES, TESTS, solve
from tests.runs import id_of

import ast
import re
import signal
from pathlib import Path

import pytest
from temporalio.client import Client

WIDTH = 120
PAGES = [
    page
    for folder in (".", "exercises", "docs", "checks/solutions")
    for page in sorted((PROJECT / folder).glob("*.md"))
]
README = (PROJECT / "README.md").read_text()


def page_of(exercise: Exercise) -> str:
    return (PROJECT / exercise.page).read_text()


def commands(text: str) -> list[list[str]]:
    """The commands in the text's `sh` blocks, without their comments."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


# What the code and the pages say of each other


def test_the_table_on_the_front_page_is_the_list_of_exercises() -> None:
    rows = re.findall(r"^\| (\d+) \| \[(.*?)\]\((.*?)\) \| (.*?) \| (\d+) \|$", README, re.MULTILINE)
    assert rows == [
        (str(each.number), each.title, each.page, each.about, str(each.minutes)) for each in EXERCISES.values()
    ]


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.page)
def test_a_page_has_its_exercises_title_and_leads_to_the_one_before_and_after(exercise: Exercise) -> None:
    lines = page_of(exercise).splitlines()
    assert lines[0] == f"# Exercise {exercise.number}: {exercise.title}"
    neighbours = [EXERCISES[each] for each in (exercise.number - 1, exercise.number + 1) if each in EXERCISES]
    for part in (" ".join(lines[:6]), " ".join(lines[-6:])):
        links = re.findall(r"\]\((.*?)\)", part)
        assert {Path(each.page).name for each in neighbours} | {"../README.md#exercises"} <= {*links}


def places() -> list[Place]:
    """All places to which a message of a check points: they are made by `place(...)` with plain texts."""
    found = [LOADS.where, REPLAYS.where, TROUBLESHOOTING]
    for file in (PROJECT / "checks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "place":
                number, *texts = [ast.literal_eval(argument) for argument in node.args]
                found.append(EXERCISES[number].place(*texts))
    return found


@pytest.mark.parametrize("where", sorted(set(places()), key=str), ids=str)
def test_where_a_message_says_to_look_there_is_a_page_with_this_heading_or_hint_and_these_points(where: Place) -> None:
    text = (PROJECT / where.page).read_text()
    headings = re.findall(r"^#+ (.*)$|^<summary>(.*)</summary>$", text, re.MULTILINE)
    assert where.heading in [heading or summary for heading, summary in headings]
    _, _, rest = re.split(rf"^(#+ |<summary>){re.escape(where.heading)}.*$", text, maxsplit=1, flags=re.MULTILINE)
    section = re.split(r"^## ", rest, flags=re.MULTILINE)[0]
    for point in re.findall(r"\d+", where.detail):
        assert re.search(rf"^{point}\. ", section, re.MULTILINE)


def test_there_are_enough_places_to_be_sure_that_they_were_found() -> None:
    assert len(places()) >= 40


@pytest.mark.parametrize("exercise", STARTED, ids=lambda exercise: exercise.page)
def test_every_exercise_begins_with_start_and_ends_with_check_and_diff(exercise: Exercise) -> None:
    text, number = page_of(exercise), exercise.number
    found = [" ".join(command) for command in commands(text)]
    assert found[0].startswith(f"python workshop.py start {number}")
    assert commands(text.partition("\n## Is it right?\n")[2])[:2] == [
        ["python", "workshop.py", "check", str(number)],
        ["python", "workshop.py", "diff", str(number)],
    ]


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.page)
def test_every_exercise_has_a_question_with_its_answer_folded_and_says_when_it_is_done(exercise: Exercise) -> None:
    text = page_of(exercise)
    assert re.search(r"\*\*Guess first:\*\*(?: .*\n)(?:.+\n)*\n *<details>", text)
    assert len(re.findall(r"\*\*Done when\*\*", text)) == 1


# How the pages are written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_no_line_of_prose_is_longer_than_a_screen_is_wide(page: Path) -> None:
    """Tables can't be wrapped, nor what programs print, nor a link."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > WIDTH]
    assert [line for line in long if not re.match(r"\||.*\]\(\S+\)$|Check says: ", line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\((?!https?:)(.*?)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in headings]


def test_the_front_page_is_short() -> None:
    assert len(README.splitlines()) <= 200


# The commands


@pytest.mark.timeout(600)  # Some commands wait for real timeouts, and a machine may have other work.
@pytest.mark.parametrize("exercise", [EXERCISES[0], *STARTED], ids=lambda exercise: exercise.page)
async def test_the_commands_of_a_page_work_as_they_are_printed(
    client: Client, run: Run, elsewhere: str, exercise: Exercise
) -> None:
    """Up to the task with the starting point, after it with the solution."""
    before, after = page_of(exercise), ""
    if exercise in STARTED:
        before, task, after = before.rpartition("\nChange your ")
        assert task, "The page has no line that begins with 'Change your', where the task begins."
    environment = {"cwd": elsewhere}
    worker: Process | None = None
    waiting: list[Process] = []

    def start_worker(*command: str) -> Process:
        if worker is not None:  # The learner stops it by Ctrl-C.
            worker.signal(signal.SIGINT)
            assert worker.end()[0] == 0
        started = run(*command, "--pace", "0", **environment)
        started.wait_for("is running")
        return started

    for command in commands(before):
        if "temporal_server.py" in command:
            port = free_port()
            run(*command, "--temporary", "--port", str(port), **environment).wait_for("UI:")
            environment["TEMPORAL_ADDRESS"] = f"localhost:{port}"
        elif "temporal_worker.py" in command:
            worker = start_worker(*command)
        elif "3600" in command:  # The learner leaves it waiting.
            watching = run(*command, **environment)
            watching.wait_for("Not answering")
            watching.signal(signal.SIGINT)
            assert watching.end()[0] == 130
        elif "temporal_client.py" in command and worker is None:
            waiting.append(run(*command, **environment))
            waiting[0].wait_for("No worker of")
        else:
            ended(command, run(*command, **environment))
    for process in waiting:
        ended(["temporal_client.py"], process)
    if exercise not in STARTED:
        return

    assert (Path(elsewhere) / NAMES[1]).exists() == exercise.writes_activities
    number = str(exercise.number)
    code, output = run("python", "workshop.py", "diff", number, "--mine", cwd=elsewhere).end()
    own = TESTS if exercise.writes_tests else NAMES[0]
    assert code == 0 and output.startswith(f"--- {own}")
    solve(Path(elsewhere), exercise)  # The learner does what the task says, and restarts the worker.
    code, output = run("python", "workshop.py", "diff", number, "--mine", cwd=elsewhere).end()
    assert (code, output) == (0, "No difference.")

    worker = start_worker("python", "temporal_worker.py", "mine")
    for command in commands(after):
        if "temporal_worker.py" in command:
            worker = start_worker(*command)
        elif "./sh_restart_worker.sh" in command:
            worker = run(*command, "--pace", "0", **environment)
            worker.wait_for("is running")
        else:
            process = run(*command, **environment)
            if "--no-answer" in command and "--approval-timeout" not in command:
                process.wait_for("Not answering")  # The learner answers in the Web UI.
                await client.get_workflow_handle(id_of("mine")).execute_update("answer_approval", YES)
            ended(command, process)


def ended(command: list[str], process: Process) -> None:
    """Wait for the end of a command, which is neither one of wrong use nor one of a bug."""
    code, output = process.end()
    is_to_fail = bool({"--reject", "--approval-timeout"} & {*command})
    assert code == is_to_fail, f"{' '.join(command)}\n{output}"
    assert "Traceback" not in output


def test_every_exercise_with_something_to_write_has_a_diff() -> None:
    assert {each.number for each in STARTED} <= {each.number for each in SOLVED}
