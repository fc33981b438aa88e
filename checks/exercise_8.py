"""Change it while it waits."""

from checks.exercises import EXERCISES, place
from checks.failure import CheckFailure, Step
from checks.lab import Lab, Way, open_lab
from checks.names import CHECK_VAULT, NO, PRECONDITIONS, REQUEST, UPDATE, hosts_of
from checks.replay import replay
from checks.solutions import with_suffix
from support import PROJECT
from support.histories import Handle, family, history, own_name
from workflow.versions import Version

import asyncio
import dataclasses
import importlib
import re
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import PayloadConverter

START = EXERCISES[8].start
CLUSTERS = ["cluster3", "cluster4", "cluster5"]
WAITS = "waits for its approval"
ENDINGS = {"is completed": "cluster3", "was rejected": "cluster4", "has failed": "cluster9"}
BROKEN = hosts_of("cluster9", 1)[0]
UNDER_WAY = hosts_of("cluster8", 1)[0]
FIRST = "A new run checks the access to Vault first of all, and not once more after its approval."
PATCHED = (
    'A run from before does what its history says. `workflow.patched("...")` is true in a new run, and false in one '
    "that was past this point: so the code has both ways, each behind an `if`."
)
AS_BEFORE = "A run from before checks the access to Vault after its approval, once, as it would have done."


async def steps(lab: Lab) -> AsyncGenerator[Step, None]:
    """Yield each step before it is looked at. Raises `CheckFailure` where one is not done."""
    yield Step("A new run checks the access to Vault first of all, and once", place(8, "8.2 Mend it", "point 1"))
    markers = await vault_comes_first(lab)

    yield Step("Runs that the code of before began can go on with yours", place(8, "8.2 Mend it", "point 2"))
    with code_of_before(lab.version) as before:
        old = Lab(lab.client, before)
        async with open_lab(old):
            waiting = await asyncio.gather(*[wait_for_approval(old) for _ in range(3)])
            histories = await histories_of_before(old, waiting[0])
    await can_go_on(lab, histories, markers)

    # A worker with the code of today takes over. What goes wrong there is told as if it were the lab's own.
    new = Lab(lab.client, dataclasses.replace(lab.version, name=before.name))
    new.trouble = lab.trouble
    new.handles += waiting
    async with open_lab(new):
        yield Step("A run that waits is approved, and patches its hosts to the end", place(8, "8.2 Mend it", "point 2"))
        await new.completed_steps(waiting[0])
        for handle, way in zip(waiting[:2], (Way.UPDATE, Way.SIGNAL), strict=True):
            await new.answer(handle, way)
            await new.result(handle, "Approved, it patches its hosts.")
            vault_comes_later(new, handle)

        yield Step("A run that waits is rejected, and touches nothing", place(8, "8.2 Mend it", "point 2"))
        await new.answer(waiting[2], Way.UPDATE, NO)
        await new.failure(waiting[2], "Rejected, it fails, as before.")
        if begun := new.activities_in(waiting[2]):
            raise CheckFailure(f"It was rejected, and began {begun[0]}.", "Nothing is done any more.")


async def vault_comes_first(lab: Lab) -> list[tuple[str, bool]]:
    """Let a new run go to its end. Raises `CheckFailure` if Vault is not checked first, and once.

    Returns the patches of which its history has a note: their ids, and whether they are deprecated.
    """
    lab.small_clusters |= {*CLUSTERS}
    handle = await lab.start(CLUSTERS)
    if not await lab.wait(lambda: any(call.done for call in lab.calls if call.name == REQUEST)):
        raise CheckFailure(f"No approval was requested. {await lab.what_it_does(handle)}", FIRST)
    begun = lab.activities_in(handle)
    if begun[:2] != [CHECK_VAULT, REQUEST]:
        what = "was not checked before" if CHECK_VAULT not in begun else "was checked beside"
        raise CheckFailure(f"In a new run, the access to Vault {what} the request for the approval.", FIRST)
    await lab.approve(handle)
    await lab.result(handle, "Approved, it patches its hosts.")
    times = sum(call.name == CHECK_VAULT for call in lab.calls if call.attempt == 1)
    if times != 1:
        raise CheckFailure(f"A new run checked the access to Vault {times} times.", FIRST)
    markers = patches_in(await history(handle))
    if len({id for id, _ in markers}) > 2:
        ids = ", ".join(id for id, _ in markers)
        raise CheckFailure(
            f"A run of {len(CLUSTERS)} clusters has a note of {len(markers)} patches: {ids}.",
            "One change has one id, which is a constant: never one that a loop makes.",
        )
    return markers


def patches_in(events: list[HistoryEvent]) -> list[tuple[str, bool]]:
    """Return the patches of which a history has a note: their ids, and whether they are deprecated."""
    found = []
    for event in events:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name == "core_patch":
            [data] = PayloadConverter.default.from_payloads(marker.details["patch-data"].payloads)
            found.append((data["id"], data["deprecated"]))
    return found


@contextmanager
def code_of_before(version: Version) -> Iterator[Version]:
    """Within this, there is the starting point's code in classes of the same names, for a task queue of its own."""
    name = f"{version.name}_before"
    with tempfile.TemporaryDirectory() as folder:
        code = (PROJECT / "workflow" / f"system_patch_workflow_{START}.py").read_text(encoding="utf-8")
        Path(folder, f"{name}.py").write_text(with_suffix(code, START.upper(), version.name.capitalize()))
        sys.path.append(folder)
        try:
            module = importlib.import_module(name)
            workflows = [each for each in vars(module).values() if hasattr(each, "__temporal_workflow_definition")]
            main = getattr(module, version.workflow.__name__)
            yield Version(name, main, workflows, module.SystemPatchActivities, version.learner)
        finally:
            sys.path.remove(folder)
            sys.modules.pop(name, None)


async def wait_for_approval(old: Lab) -> Handle:
    """Start a run of before, let it come to where it waits, and return it."""
    handle = await old.start(["cluster3"])

    async def waits() -> bool:
        return await old.is_waiting(handle)

    await old.until(waits, timeout=5)
    return handle


async def histories_of_before(old: Lab, waiting: Handle) -> dict[str, dict[str, str]]:
    """Return histories of the code of before, by what the run does, of that run and of its children by their ids."""
    old.failing.add((PRECONDITIONS, BROKEN))
    old.hold(UPDATE, UNDER_WAY)
    runs = {WAITS: waiting}
    for what, cluster in ENDINGS.items():
        runs[what] = await old.start([cluster])
        await old.answer(runs[what], Way.UPDATE, *([NO] if what == "was rejected" else []))
    under_way = await old.start(["cluster8"])
    await old.approve(under_way)
    await old.wait(lambda: UNDER_WAY in old.begun(UPDATE))
    for what in ENDINGS:
        await old.closed(runs[what], "The code of before ends.")
    found = {}
    for what, run in [*runs.items(), ("is under way", under_way)]:
        found[what] = {each.id: (await each.fetch_history()).to_json() for each in await family(old.client, run)}
    await under_way.terminate("A check")
    return found


async def can_go_on(lab: Lab, histories: dict[str, dict[str, str]], markers: list[tuple[str, bool]]) -> None:
    """Raise `CheckFailure` if the learner's code takes another path than one of these histories."""
    names = {workflow.__name__ for workflow in lab.version.workflows}
    each = [(what, id, events) for what, of_a_run in histories.items() for id, events in of_a_run.items()]
    for what, id, events in each:
        [kind] = re.findall(r'"workflowType":\s*{\s*"name":\s*"(\w+)"', events)[:1]
        if kind not in names:
            raise CheckFailure(
                f"{own_name(id)} of a run that {what} is a {kind}, and there is no such class any more.",
                "Runs are of the class that began them: a class keeps its name as long as there are runs of it.",
            )
    lab.is_deaf = True  # To what the SDK says of it: it is told here.
    for what, id, events in each:
        if reason := await why_not(lab.version, id, events):
            raise CheckFailure(
                f"A run from before that {what} can't go on with your code: {reason}",
                f"{PATCHED} {about(markers)}".strip(),
            )
    lab.is_deaf = False


async def why_not(version: Version, id: str, events: str) -> str:
    """Return why a run can't go on with this version's code, or nothing."""
    text = " ".join(str(await replay(version.workflows, {id: events}) or "").split())
    found = re.search(r'\[TMPRL1100\][^"]*', text)
    if found is None:
        return text
    # An event that the code does not come to is told with all that is in it.
    what, event, _ = found[0].partition("HistoryEvent {")
    kinds = re.findall(r"event_type: (\w+)", text) if event else []
    names = re.findall(r'name: \\?"(\w+)\\?"', text) if event else []
    return " of ".join([what + "".join(kinds[:1]), *names[:1]])


def about(markers: list[tuple[str, bool]]) -> str:
    """Return what there is to say of the patches in a new run."""
    if not markers:
        return "(A new run of yours has no note of a patch in its history.)"
    if any(deprecated for _, deprecated in markers):
        return "(deprecate_patch comes when no run is left that began before the patch: here are some.)"
    return ""


def vault_comes_later(new: Lab, handle: Handle) -> None:
    """Raise `CheckFailure` if a run from before has not checked Vault once, after its approval."""
    times = new.activities_in(handle).count(CHECK_VAULT)
    if times == 0:
        raise CheckFailure(
            "A run from before was approved, patched its hosts, and never checked the access to Vault.",
            AS_BEFORE,
        )
    if times > 1:
        raise CheckFailure(f"A run from before checked the access to Vault {times} times.", AS_BEFORE)
