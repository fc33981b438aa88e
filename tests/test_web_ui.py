"""What the pages say of the Web UI, walked through in a real browser. The walk takes the pages' pictures on its way.

To take them anew, with names as learners see them:  pytest --numprocesses 0 --pictures tests/test_web_ui.py
"""

from checks.exercises import EXERCISES
from checks.names import YES
from support import PROJECT
from support.histories import Handle
from tests import browser, web_ui
from tests.conftest import Run
from tests.runs import patch_input, start, with_hosts_that_wait, worker
from tests.web_ui import LARGEST_PICTURE, WebUi
from workflow.types import HostPatchInput
from workflow.versions import find_version

import asyncio
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError

PICTURES = PROJECT / "docs" / "pictures"
ONE = patch_input(["cluster1"])
learners = itertools.count(1)
[VERSION] = re.findall(r"Web UI (\d+\.\d+\.\d+)", (PROJECT / "exercises" / "0_run_it.md").read_text())

pytestmark = [
    pytest.mark.skipif(browser.find() is None and os.environ.get("CI") != "true", reason=browser.MISSING),
    pytest.mark.timeout(480),
]


@pytest.fixture
async def ui(
    client: Client, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[WebUi]:
    """The Web UI, for a learner whose task queues no worker has polled before."""
    if learner := os.environ.get("WORKSHOP_LEARNER"):
        # Not with a hyphen: the ids of other tests' runs have a number behind one.
        monkeypatch.setenv("WORKSHOP_LEARNER", f"{learner}.ui{next(learners)}")
    folder = PICTURES if request.config.getoption("--pictures") else tmp_path
    async with web_ui.opened(client, folder) as page:
        yield page


async def begin(client: Client, version: str, input: Any = ONE, approved: bool = True) -> Handle:
    """Start a run under the id that a client gives it, and approve it."""
    found = find_version(version)
    summary = f"Patch {', '.join(input.target_clusters)}"
    handle = await start(client, found, input, id=found.workflow_id, static_summary=summary)
    if approved and found.has_approval:
        await handle.execute_update("answer_approval", YES)
    return handle


def words_of(page: str) -> set[str]:
    """The words of the Web UI that a page names: they are in italics, and have a capital letter."""
    text = re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", (PROJECT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?<![*\w])\*([^*]+?)\*(?![*\w])", text)
    return {" ".join(each.split()) for each in found if re.search("[A-Z]", each)}


def all_seen(ui: WebUi, page: str) -> None:
    """Make sure that all words of the Web UI on a page were seen on the way."""
    assert words_of(page) - ui.seen == set()


async def test_exercise_0(client: Client, ui: WebUi) -> None:
    page = ui.page
    run = await begin(client, "v1", patch_input())
    await ui.open(run)
    await ui.sees("RUNNING", "No workers polling", "Timeline", "Input", "Result", VERSION)
    striped = page.locator(".tl-line--dashed")
    await striped.wait_for()
    await ui.tab("Event History")
    await ui.sees("Workflow Execution Started", "Workflow Task Scheduled")
    await ui.picture(
        "0_no_worker", page.get_by_role("heading", level=1), page.get_by_text("Workflow Execution Started")
    )
    async with worker(client, "v1", pace=0.2):
        await ui.tab("Timeline")
        await ui.sees("check_service_health_activity • cluster1_host1")
        await run.result()
        await ui.sees("COMPLETED", '"patched_hosts"')
        await ui.press("Show idle time")
        await ui.press("Hide idle time")
        await ui.oldest_first()
        await ui.sees("2 • check_service_health_activity • cluster1_host1")
        assert await striped.count() == 0
        retried, other = [ui.bar(f"check_service_health_activity • cluster1_host{host}") for host in (1, 2)]
        assert "gradient" in await retried.inner_html() and "gradient" not in await other.inner_html()
        await ui.picture("0_timeline", page.get_by_role("heading", name="Timeline", level=2), height=620)
    all_seen(ui, "exercises/0_run_it.md")


async def test_exercise_1(client: Client, ui: WebUi) -> None:
    page = ui.page
    async with worker(client, "v2", pace=0.2):
        run = await begin(client, "v2")
        await run.result()
        await ui.open(run)
        await ui.sees("COMPLETED")
        await ui.first_events()
        await ui.sees("Workflow Execution Update Accepted", "Workflow Execution Update Completed")
        events = page.get_by_role("heading", name="Event History")
        await ui.picture("1_update", events, page.get_by_text("Update Completed"))

        await ui.tab("Timeline")
        await ui.bar("check_service_health_activity • cluster1_host1").click()
        await ui.sees("Activity Task Scheduled", "Activity Task Started", "Attempt", "Last Failure")
        await ui.sees("Retry Policy Initial Interval", "Retry Policy Backoff Coefficient")
        await page.get_by_text("Last Failure").scroll_into_view_if_needed()
        await ui.picture("1_last_failure", page.get_by_text("Activity Task Started"), height=420)

        run = await begin(client, "v2", approved=False)
        await run.signal("answer_approval_signal", YES)
        await run.result()
        await ui.open(run)
        await ui.first_events()
        await ui.sees("Workflow Execution Signaled")

        run = await begin(client, "v2", patch_input(["cluster1"], approval_timeout=1), approved=False)
        with pytest.raises(WorkflowFailureError):
            await run.result()
        await ui.open(run)
        await ui.sees("FAILED")
        await ui.tab("Event History")
        await ui.sees("Timer Started", "Timer Fired", "Workflow Execution Failed")
    await an_activity_fails(client, ui)

    class Long(find_version("v2").activities):  # type: ignore[misc]
        @activity.defn
        async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
            # So the run goes on for as long as it takes to press all that is pressed meanwhile.
            raise ApplicationError("not now", next_retry_delay=timedelta(hours=1))

    async with worker(client, "v2", activities=Long(0)):
        run = await begin(client, "v2", approved=False)
        await ui.open(run)
        await ui.tab("Event History")
        await ui.sees("Timer Started")
        dialog = await send_an_update(ui)
        await ui.picture("1_send_an_update", dialog)
        await ui.press("Submit", dialog)
        await dialog.wait_for(state="hidden")
        await page.reload()  # Else the dialog shows the old data, and sends none.
        dialog = await send_an_update(ui)
        await ui.press("Submit", dialog)
        await ui.sees("Already answered by me")
        await ui.picture("1_answered_already", dialog)
        await page.reload()
        await ui.first_events()
        await ui.sees("Timer Canceled")
        await run.terminate()
    all_seen(ui, "exercises/1_wait_for_an_approval.md")


async def an_activity_fails(client: Client, ui: WebUi) -> None:
    class Unhealthy(find_version("v2").activities):  # type: ignore[misc]
        @activity.defn
        async def check_service_health_activity(self, host: HostPatchInput) -> None:
            raise ApplicationError("not healthy", non_retryable=True)

    async with worker(client, "v2", activities=Unhealthy(0)):
        run = await begin(client, "v2")
        with pytest.raises(WorkflowFailureError):
            await run.result()
    await ui.open(run)
    await ui.tab("Event History")
    await ui.sees("Activity Task Failed", "Workflow Execution Failed")


async def send_an_update(ui: WebUi) -> Any:
    """Fill in the dialog of this name. The first press of Submit only brings the data into shape."""
    await ui.choose("More Actions", "Send an Update")
    dialog = ui.page.get_by_role("dialog", name="Send an Update")
    await ui.press("Select an Update", dialog)
    await dialog.get_by_role("option", name="answer_approval").click()
    await dialog.get_by_role("textbox", name="Data").click()
    ui.seen.add("Data")
    await ui.page.keyboard.insert_text('{"approved": true, "approver": "me"}')
    await ui.press("Submit", dialog)
    await dialog.get_by_text('"approved": true,', exact=True).wait_for()
    return dialog


async def test_exercise_2(client: Client, ui: WebUi) -> None:
    async with worker(client, "v3"):
        run = await begin(client, "v3")
        await run.result()
        await ui.open(run)
        await ui.tab("Queries")
        await ui.sees("Query Type")
        await ui.press("Run Query")
        await ui.sees("cluster1_host5 patched")
        await ui.picture("2_queries", ui.page.get_by_role("tab", name="Queries"), height=320)
    await ui.press("Refresh Query")
    await ui.sees("no poller seen")
    await ui.tab("Workers")
    await ui.sees("SHUTTING DOWN")
    all_seen(ui, "exercises/2_ask_for_the_progress.md")


async def test_exercise_3(client: Client, ui: WebUi, run: Run) -> None:
    class Slow(find_version("v3").activities):  # type: ignore[misc]
        @activity.defn
        async def perform_update_activity(self, host: HostPatchInput) -> None:
            if activity.info().attempt < 3:  # The last attempt succeeds, else the run might end before it is looked at.
                await asyncio.sleep(11)

    async with worker(client, "v3", activities=Slow(0)):
        waiting = await begin(client, "v3")
        await ui.open(waiting)
        await reload_until(ui, "Pending Activities", "activity StartToClose timeout")
        await ui.sees("Attempt", "Last Failure", "RUNNING")
        tab = ui.page.get_by_role("tab", name="Pending Activities")
        await ui.picture("3_pending_activities", tab, height=420)
        await waiting.terminate()

    looked_at = asyncio.Event()

    class GoesOn(find_version("v4").activities):  # type: ignore[misc]
        @activity.defn
        async def perform_update_activity(self, host: HostPatchInput) -> None:
            while not looked_at.is_set():
                activity.heartbeat(*activity.info().heartbeat_details)
                await asyncio.sleep(0.2)

    crashing = run("python", "temporal_worker.py", "v4", "--pace", "0.5")
    patching = await begin(client, "v4", patch_input(["cluster2"]))
    await crashing.printed("update step 3 of 9 done")
    crashing.kill()
    async with worker(client, "v4", activities=GoesOn(0)):
        await ui.open(patching)
        await reload_until(ui, "Pending Activities", "activity Heartbeat timeout")
        await reload_until(ui, "Pending Activities", "Heartbeat Details")
        await ui.picture("3_heartbeat_details", tab, height=420)
        looked_at.set()
        await patching.result()
    await ui.page.reload()
    await ui.tab("Timeline")
    await ui.bar("2 • perform_update_activity • cluster2_host1").click()
    await ui.sees("Activity Task Started", "Last Failure", "activity Heartbeat timeout")
    all_seen(ui, "exercises/3_survive_a_crash.md")


async def reload_until(ui: WebUi, tab: str, text: str) -> None:
    """Open a tab that is not live, again and again until it has this text."""
    while True:
        await ui.tab(tab)
        if text in await ui.page.inner_text("main"):
            ui.seen.add(text)
            return
        await asyncio.sleep(0.5)
        await ui.page.reload()


async def test_exercise_4(client: Client, ui: WebUi) -> None:
    async with worker(client, "v5", pace=0.2):
        run = await begin(client, "v5", patch_input())
        await run.result()
    await ui.open(run)
    await ui.sees("COMPLETED", "Timeline")
    await ui.oldest_first()
    update = ui.bar("perform_update_activity • cluster1_host1")
    await update.evaluate("bar => bar.scrollIntoView({block: 'center'})")
    await ui.picture("4_timeline", update, height=460)
    all_seen(ui, "exercises/4_patch_side_by_side.md")


async def test_exercise_5(client: Client, ui: WebUi) -> None:
    page = ui.page
    async with worker(client, "v6", pace=0.2):
        run = await begin(client, "v6", patch_input())
        await ui.open(run)
        await ui.sees("cluster3")
        await ui.press("More Actions")
        await ui.sees("Reset")
        await run.result()
    await ui.open(run)
    await ui.sees("COMPLETED", "Timeline", "record_step")
    await ui.oldest_first()
    await ui.picture("5_timeline", page.get_by_role("heading", name="Timeline", level=2), height=560)
    assert await page.get_by_role("listitem").filter(has_text="record_step").count() >= 15
    await ui.first_events()
    await ui.sees("Workflow Execution Signaled", "Start Child Workflow Execution Initiated")
    await ui.tab("Relationships")
    await ui.sees("Expand All")
    await page.get_by_text("Expand All").click()
    for cluster in range(1, 4):
        for host in range(1, 6):
            await page.get_by_role("link", name=f"cluster{cluster}_host{host}").wait_for()
    await page.set_viewport_size({"width": web_ui.WIDE, "height": web_ui.HEIGHT})
    await ui.picture("5_tree", page.get_by_role("tab", name="Relationships"), height=1480)
    all_seen(ui, "exercises/5_a_child_for_each_cluster_and_host.md")


async def test_exercise_6(client: Client, ui: WebUi) -> None:
    page = ui.page

    class OneFails(find_version("v6").activities):  # type: ignore[misc]
        @activity.defn
        async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
            if host.hostname == "cluster2_host2":
                await self._work(3.0)
                raise ApplicationError("preconditions are not met", type="PreconditionsNotMet", non_retryable=True)
            await super().check_host_preconditions_activity(host)

    for version, name, activities in (("v6", "6_before", OneFails(0.3)), ("v7", "6_after", None)):
        async with worker(client, version, pace=0.3, activities=activities):
            run = await begin(client, version, patch_input())
            with pytest.raises(WorkflowFailureError):
                await run.result()
        await ui.open(run)
        await ui.sees("FAILED", "Result", '"message"', "Pending Activities")
        if version == "v7":
            await ui.picture("6_result", page.get_by_role("heading", name="Result"), height=300)
        await ui.tab("Relationships")
        await ui.sees("Expand All")
        await page.get_by_text("Expand All").click()
        await page.get_by_role("link", name="cluster3_host1").wait_for()
        await ui.sees("COMPLETED" if version == "v7" else "TERMINATED", "CANCELED" if version == "v7" else "FAILED")
        await page.set_viewport_size({"width": web_ui.WIDE, "height": web_ui.HEIGHT})
        await ui.picture(name, page.get_by_role("tab", name="Relationships"), height=1300)
        await page.set_viewport_size({"width": web_ui.WIDTH, "height": web_ui.HEIGHT})

    async with worker(client, "v7", activities=with_hosts_that_wait("v7")(0)):
        run = await begin(client, "v7", patch_input(["cluster1", "cluster3"]))
        await ui.open(run)
        await ui.sees("cluster3")
        await ui.press("More Actions")
        await ui.sees("Terminate")
        await page.keyboard.press("Escape")
        await ui.press("Request Cancellation")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("button", name="Cancel", exact=True).first.wait_for()
        ui.seen.add("Cancel")
        await ui.press("Confirm", dialog)
        with pytest.raises(WorkflowFailureError):
            await run.result()
        await page.reload()
        await ui.sees("CANCELED")
    all_seen(ui, "exercises/6_stop_the_others.md")


async def test_exercise_8(client: Client, ui: WebUi, run: Run, elsewhere: str) -> None:
    """As in exercise 8."""
    async with worker(client, "v8") as version:
        waiting = await begin(client, "v8", approved=False)
        await waiting.query("completed_steps")  # So it has begun.
    file = Path(elsewhere) / "workflow" / "system_patch_workflow_v8.py"
    code = file.read_text()
    vault = re.search(r"        await workflow.execute_activity_method\(\n.*check_vault.*\n        \)\n", code)
    assert vault
    log = '        workflow.logger.info("Patching'
    file.write_text(code.replace(vault[0], "").replace(log, vault[0] + log))
    changed = run("python", "temporal_worker.py", version.name, cwd=elsewhere)
    changed.wait_for("is running")
    await waiting.signal("answer_approval_signal", YES)
    await changed.printed("[TMPRL1100] Nondeterminism error")
    await ui.open(waiting)
    await ui.sees("RUNNING", "Non Deterministic Error")
    await ui.tab("Event History")
    await ui.sees("Workflow Task Failed")
    await ui.sees("Download")
    await ui.choose("More Actions", "Send an Update")
    await ui.page.reload()
    await ui.picture("non_deterministic_error", ui.page.get_by_text("Non Deterministic Error").first, height=215)
    await ui.tab("Queries")
    await waiting.terminate()
    changed.signal(signal.SIGTERM)
    assert changed.end()[0] == 0
    async with worker(client, "v9"):
        patched = await begin(client, "v9")
        await patched.result()
    await ui.open(patched)
    await ui.sees("COMPLETED")
    await ui.first_events()
    await ui.sees("Marker Recorded", "Upsert Workflow Search Attributes")
    for page in (EXERCISES[8].page, "docs/troubleshooting.md"):
        all_seen(ui, page)


def test_every_picture_is_on_a_page_and_every_page_has_its_pictures() -> None:
    pages = [*(PROJECT / "exercises").glob("*.md"), *(PROJECT / "docs").glob("*.md")]
    shown = re.findall(r"!\[(.*)\]\((?:\.\./docs/)?pictures/(.*)\)", "\n".join(page.read_text() for page in pages))
    assert {name for _, name in shown} == {file.name for file in PICTURES.iterdir()}
    assert all(len(alt) > 20 for alt, _ in shown)
    assert all(file.stat().st_size < LARGEST_PICTURE for file in PICTURES.iterdir())
