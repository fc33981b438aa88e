"""Solutions that are not ours: right ones that the checks must let pass, and misconceptions that they must explain.

Each is the reference solution of an exercise with a small change.
"""

from dataclasses import dataclass

Changes = list[tuple[str, str]]


@dataclass
class Answer:
    """A solution of an exercise: what it changes in the reference's workflow, update activity and client."""

    exercise: int
    what: str
    workflow: Changes
    says: str = ""
    """What the check must say to it, as a regular expression. Nothing if it is right."""
    activity: str = ""
    """A method that replaces one of the reference's activities."""
    client: Changes | None = None


WAIT = """\
        try:
            timeout = timedelta(seconds=input.approval_timeout_seconds)
            await workflow.wait_condition(lambda: self._answer is not None, timeout=timeout)
        except asyncio.TimeoutError:
            raise ApplicationError(f"No answer within {timeout}", type="ApprovalTimeout") from None
"""
REJECTED = """\
        if self._answer is not None and not self._answer.approved:
            raise ApplicationError(f"Rejected by {self._answer.approver}", type="ApprovalRejected")
"""
UPDATE = """\
    @workflow.update
    def answer_approval(self, answer: ApprovalAnswer) -> str:
        self._answer = answer
        return "approved" if answer.approved else "rejected"
"""
VALIDATOR = """\
    @answer_approval.validator
    def validate_answer(self, answer: ApprovalAnswer) -> None:
        if self._answer is not None:
            raise ApplicationError(f"Already answered by {self._answer.approver}", type="AlreadyAnswered")

"""
SIGNAL = """\
    @workflow.signal
    def answer_approval_signal(self, answer: ApprovalAnswer) -> None:
        self._answer = self._answer or answer
"""
REQUEST = """\
        await workflow.execute_activity_method(
            SystemPatchActivities.request_approval_activity, input, **OPTIONS | {"summary": "All hosts"}
        )
"""
QUERY = """\
    @workflow.query
    def completed_steps(self) -> list[str]:
        return list(self._completed_steps)
"""
PATCHED = '            self.record_step(f"{host.hostname} patched")\n'
PRECONDITIONS = """\
            await workflow.execute_activity_method(
                SystemPatchActivities.check_host_preconditions_activity, host, **OPTIONS | {"summary": host.hostname}
            )
"""
PERFORM_UPDATE = """\
            await workflow.execute_activity_method(
                SystemPatchActivities.perform_update_activity, host, **UPDATE_OPTIONS | {"summary": host.hostname}
            )
"""
SUCCESS = """\
            await workflow.execute_activity_method(
                SystemPatchActivities.send_success_notification_activity, host, **OPTIONS | {"summary": host.hostname}
            )
"""
GATHER_CLUSTERS = "await asyncio.gather(*[self._process_target_cluster(cluster) for cluster in clusters])"
GATHER_HOSTS = "await asyncio.gather(*[self._process_host(host) for host in hosts])"
PILOTS_AND_OTHERS = """\
        await self._process_hosts(hosts[: cluster.pilot_count])
        await self._process_hosts(hosts[cluster.pilot_count :])
"""
CLUSTER_CHILD = """\
        child_id = f"{workflow.info().workflow_id}/{cluster.name}"
        return await workflow.execute_child_workflow(
            SystemPatchWorkflow_Cluster_V6.run, cluster, id=child_id, static_summary=cluster.name
        )
"""
HOST_CHILD = """\
        child_id = f"{workflow.info().workflow_id}/{host.hostname}"
        await workflow.execute_child_workflow(
            SystemPatchWorkflow_Host_V6.run, host, id=child_id, static_summary=host.hostname
        )
"""
REPORT = """\
            if root := workflow.info().root:
                handle = workflow.get_external_workflow_handle(root.workflow_id, run_id=root.run_id)
                await handle.signal(SystemPatchWorkflow_V6.record_step, f"{host.hostname} patched")
"""
WAIT_FOR_CLUSTERS = """\
        await asyncio.gather(*tasks, return_exceptions=True)  # A cluster that fails does not stop the others.
        try:
            results = [task.result() for task in tasks]
        except ChildWorkflowError as error:
            raise error.cause or error
"""
WAIT_FOR_HOSTS = """\
        try:
            await asyncio.gather(*tasks)
        except ChildWorkflowError as error:
            raise error.cause or error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # They end before this cluster does.
"""
LET_CANCELLATION_THROUGH = """\
            if is_cancelled_exception(error):
                raise
"""


def update(body: str, first: str = "") -> str:
    """Return an update activity with this body in its loop over the steps, and a line before that."""
    return f"""
    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        details = activity.info().heartbeat_details
        {first or "done = details[0] if details else 0"}
{body}
"""


LOOP = """\
        for step in range(done + 1, 10):
            await self._work(1.0)
            activity.heartbeat(step)
"""


def preconditions(body: str) -> str:
    """Return an activity that checks preconditions, with this body."""
    return f"""
    @activity.defn
    async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
        if host.hostname == "cluster2_host2":
{body}
"""


FOR_GOOD = """\
            raise ApplicationError("not ready", type="NotReady", non_retryable=True)
"""

WRONG = [
    # 1
    Answer(1, "waits without a timeout", [(", timeout=timeout)", ")")], "waits for something that doesn't come"),
    Answer(
        1,
        "waits for five minutes, whatever the input says",
        [("timedelta(seconds=input.approval_timeout_seconds)", "timedelta(minutes=5)")],
        "waits for a timer of 300 s",
    ),
    Answer(
        1,
        "catches the wrong exception",
        [
            ("except asyncio.TimeoutError", "except temporalio.exceptions.TimeoutError"),
            ("import asyncio\n", "import asyncio\n\nimport temporalio.exceptions\n"),
        ],
        "its message .* says nothing about an approval",
    ),
    Answer(
        1,
        "goes on when nobody has answered in time",
        [
            (
                '            raise ApplicationError(f"No answer within {timeout}", type="ApprovalTimeout") from None\n',
                "            pass\n",
            )
        ],
        "It went on although nobody had answered: check_vault_access_activity was begun",
    ),
    Answer(
        1,
        "asks for approval, but does not wait for the answer",
        [(WAIT, "")],
        "It went on although nobody had answered",
    ),
    Answer(1, "goes on after a rejection", [(REJECTED, "")], "It went on although it had been rejected"),
    Answer(
        1,
        "returns after a rejection, as if all were well",
        [
            (
                'raise ApplicationError(f"Rejected by {self._answer.approver}", type="ApprovalRejected")',
                "return SystemPatchResult([])",
            )
        ],
        "The workflow completed, as if all had gone well",
    ),
    Answer(
        1,
        "does not say who rejected it",
        [('f"Rejected by {self._answer.approver}"', '"Rejected"')],
        "It failed, but its message is 'ApprovalRejected: Rejected'",
    ),
    Answer(
        1,
        "rejects by an exception that is no ApplicationError",
        [
            (
                'ApplicationError(f"Rejected by {self._answer.approver}", type="ApprovalRejected")',
                'ValueError("Rejected")',
            )
        ],
        r"no ApplicationError.*\n.*\n.*line \d+, in run\n.*\nValueError: Rejected",
    ),
    Answer(
        1,
        "loses an approval that comes early",
        [(REQUEST, REQUEST + "        self._answer = None\n")],
        "It can be answered at any time after its start",
    ),
    Answer(1, "has no validator", [(VALIDATOR, "")], "A second answer was accepted"),
    Answer(
        1,
        "refuses a second answer in the handler",
        [
            (VALIDATOR, ""),
            (
                "        self._answer = answer\n",
                '        if self._answer is not None:\n            raise ApplicationError("no")\n        self._answer = answer\n',
            ),
        ],
        "The second answer was accepted first, and then refused by the handler",
    ),
    Answer(
        1,
        "lets a second signal overwrite the first",
        [("self._answer = self._answer or answer", "self._answer = answer")],
        "A first signal of yes counts, and a second one of no changes nothing",
    ),
    Answer(
        1,
        "has an update that replies nothing",
        [
            ('        return "approved" if answer.approved else "rejected"\n', ""),
            ("ApprovalAnswer) -> str:", "ApprovalAnswer) -> None:"),
        ],
        "The update replied None",
    ),
    Answer(
        1,
        "has an update that waits for the end",
        [
            ("    def answer_approval(", "    async def answer_approval("),
            (
                "        self._answer = answer\n        return",
                "        self._answer = answer\n        await asyncio.Event().wait()\n        return",
            ),
        ],
        "The workflow ended before its update had replied",
    ),
    Answer(
        1,
        "refuses an answer before it has asked",
        [
            ("        if self._answer is not None:\n", "        if self._answer is not None or not self._asked:\n"),
            ('f"Already answered by {self._answer.approver}"', '"not now"'),
            (
                "        self._answer: ApprovalAnswer | None = None\n",
                "        self._answer: ApprovalAnswer | None = None\n        self._asked = False\n",
            ),
            (REQUEST, REQUEST + "        self._asked = True\n"),
        ],
        "A first answer by update was refused: AlreadyAnswered: not now",
    ),
    Answer(
        1,
        "has handlers of other names",
        [
            ("def answer_approval(", "def approve("),
            ("@answer_approval.", "@approve."),
            ("def answer_approval_signal(", "def say_yes("),
        ],
        "Its updates: approve. Its signals: say_yes",
    ),
    Answer(
        1,
        "continues as new for ever",
        [(REQUEST, REQUEST + "        if self._answer is None:\n            workflow.continue_as_new(input)\n")],
        "The workflow began anew",
    ),
    Answer(
        1,
        "fails in the handler",
        [
            (
                "        self._answer = answer\n        return",
                "        if not answer.approved:\n            raise ApplicationError('no')\n        self._answer = answer\n        return",
            )
        ],
        "It is `run` that fails then",
    ),
    Answer(
        1,
        "does not say what a handler takes",
        [
            ("    def answer_approval(self, answer: ApprovalAnswer)", "    def answer_approval(self, answer)"),
            ("def validate_answer(self, answer: ApprovalAnswer)", "def validate_answer(self, answer)"),
        ],
        "A dict has arrived where an object was expected",
    ),
    Answer(
        1,
        "has a client with an error",
        [],
        "The client started no workflow",
        client=[("    client = await connect()\n", "    client = await connected()\n")],
    ),
    Answer(
        1,
        "takes the seconds for twice as many",
        [("seconds=input.approval_timeout_seconds", "seconds=2 * input.approval_timeout_seconds")],
        "It waited for 2\\.[0-9] s",
    ),
    Answer(
        1,
        "forgets in the update what the signal has answered",
        [
            (
                "        if self._answer is not None:\n            raise",
                "        if self._by_update:\n            raise",
            ),
            (
                "        self._answer: ApprovalAnswer | None = None\n",
                "        self._answer: ApprovalAnswer | None = None\n        self._by_update = False\n",
            ),
            (
                "        self._answer = answer\n        return",
                "        self._answer = answer\n        self._by_update = True\n        return",
            ),
            ('f"Already answered by {self._answer.approver}"', '"no"'),
        ],
        "A second answer was accepted",
    ),
    Answer(
        1,
        "has a client that does not print the reply",
        [],
        'The workflow replied "approved"',
        client=[
            (
                'print(f"Approval request answered by update: {word}. The workflow replied: {reply}", flush=True)',
                "print(reply is None)",
            )
        ],
    ),
    Answer(
        1,
        "looks at the clock",
        [
            (WAIT, "        print(datetime.now())\n" + WAIT),
            ("from datetime import timedelta", "from datetime import datetime, timedelta"),
        ],
        r"Your workflow uses datetime.datetime.now, which the sandbox does not allow",
    ),
    Answer(
        1,
        "approves whatever the client was told",
        [],
        "`python .* --reject` rejects",
        client=[("approved=not arguments.reject", "approved=True")],
    ),
    Answer(
        1,
        "has a client that does not answer",
        [],
        "The client's workflow got no answer",
        client=[("await handle.execute_update(", "str("), ('"answer_approval", answer, result_type=str', '"approved"')],
    ),
    # 2
    Answer(
        2, "has no query of this name", [("def completed_steps", "def progress")], "has no query named completed_steps"
    ),
    Answer(
        2,
        "changes the list when it is asked",
        [(QUERY, QUERY.replace("        return", '        self._completed_steps.append("asked")\n        return'))],
        "it changed self._completed_steps",
    ),
    Answer(
        2,
        "counts how often it is asked",
        [
            (QUERY, QUERY.replace("        return", "        self._asked += 1\n        return")),
            (
                "        self._completed_steps: list[str] = []\n",
                "        self._completed_steps: list[str] = []\n        self._asked = 0\n",
            ),
        ],
        "it changed self._asked",
    ),
    Answer(
        2,
        "records a host before it is touched",
        [(PATCHED, ""), ("        try:\n" + PRECONDITIONS, PATCHED[4:] + "        try:\n" + PRECONDITIONS)],
        "Nothing was done with cluster3_host1 yet, and the list was",
    ),
    Answer(
        2,
        "records a host after its update, before its health check",
        [(PATCHED, ""), (PERFORM_UPDATE, PERFORM_UPDATE + PATCHED)],
        "The health check of cluster3_host1 was not done yet, and the list was",
    ),
    Answer(
        2,
        "records the approval before there is one",
        [
            ('        self.record_step("patching approved")\n', ""),
            (REQUEST, REQUEST + '        self.record_step("patching approved")\n'),
        ],
        "Nobody had answered yet, and the list was",
    ),
    Answer(
        2,
        "does not record the approval",
        [('        self.record_step("patching approved")\n', "")],
        "before the approval, and",
    ),
    Answer(
        2, "returns a text", [("-> list[str]:\n        return list(", "-> str:\n        return str(")], "returned '"
    ),
    Answer(
        2,
        "records only the clusters",
        [(PATCHED, "")],
        "cluster3_host1 was patched, the next host not yet, and the list was",
    ),
    Answer(
        2,
        "has a client that asks only once",
        [],
        "the client had not printed",
        client=[("        if ended:\n            return\n", "        return\n")],
    ),
    Answer(
        2,
        "has a client that prints everything at the end",
        [],
        "the client had not printed",
        client=[
            (
                "    while True:\n        ended = ending.done()",
                "    await asyncio.wait([ending])\n    while True:\n        ended = ending.done()",
            )
        ],
    ),
    Answer(
        2,
        "records the approval before a rejection is looked at",
        [
            ('        self.record_step("patching approved")\n', ""),
            (REJECTED, '        self.record_step("patching approved")\n' + REJECTED),
        ],
        "After a rejection by update the list was",
    ),
    Answer(
        2,
        "records an approval by update only",
        [
            ('        self.record_step("patching approved")\n', ""),
            (UPDATE, UPDATE.replace("        return", '        self.record_step("patching approved")\n        return')),
        ],
        "After a rejection by update the list was|After an approval by signal the list was",
    ),
    Answer(
        2,
        "records a host even if it failed",
        [
            (PATCHED, ""),
            (
                "            await self._process_host(host)\n",
                '            try:\n                await self._process_host(host)\n            finally:\n                self.record_step(f"{host.hostname} patched")\n',
            ),
        ],
        "cluster9_host1 could not be patched, and the list was",
    ),
    Answer(
        2,
        "records the hosts when all of a batch are done",
        [
            (PATCHED, ""),
            (
                "            await self._process_host(host)\n",
                '            await self._process_host(host)\n        for host in hosts:\n            self.record_step(f"{host.hostname} patched")\n',
            ),
        ],
        "cluster3_host1 was patched, the next host not yet, and the list was",
    ),
    Answer(
        2,
        "has a client that does not ask after the end",
        [],
        "In the end the list was|had not printed",
        client=[
            ("    while True:\n        ended = ending.done()", "    while not ending.done():\n        ended = False")
        ],
    ),
    Answer(
        2,
        "has a client that prints everything again and again",
        [],
        "The client printed 'cluster4_host1 patched' more than once",
        client=[("steps[printed:]", "steps")],
    ),
    Answer(
        2,
        "puts new steps in front",
        [("self._completed_steps.append(step)", "self._completed_steps.insert(0, step)")],
        "New steps come at its end",
    ),
    Answer(
        2,
        "has a client that prints the whole list when it has grown",
        [],
        "more than once",
        client=[
            (
                '            for step in steps[printed:]:\n                print(f"  {step}", flush=True)\n',
                "            if len(steps) > printed:\n                print(steps, flush=True)\n",
            )
        ],
    ),
    Answer(
        2,
        "has a client that asks without a pause",
        [],
        "The client asked .* times in",
        client=[("timeout=poll_interval", "timeout=0.001")],
    ),
    # 3
    Answer(
        3,
        "sends no heartbeat",
        [],
        "The update sent no heartbeat",
        update(LOOP.replace("            activity.heartbeat(step)\n", "")),
    ),
    Answer(
        3,
        "reports the same with each heartbeat",
        [],
        "The details of the heartbeats were",
        update(LOOP.replace("heartbeat(step)", "heartbeat(host.hostname)"), "done = 0"),
    ),
    Answer(
        3,
        "reports nothing",
        [],
        "The details of the heartbeats were",
        update(LOOP.replace("heartbeat(step)", "heartbeat()"), "done = 0"),
    ),
    Answer(
        3,
        "does the last reported step once more",
        [],
        "it did the last reported step once more",
        update(LOOP.replace("done + 1", "max(done, 1)")),
    ),
    Answer(
        3,
        "leaves out a step",
        [],
        "it left out a step that was never done",
        update(LOOP, "done = details[0] + 1 if details else 0"),
    ),
    Answer(3, "begins again with the first step", [], "began again with the first step", update(LOOP, "done = 0")),
    Answer(
        3,
        "reports a step before it is done",
        [],
        "it left out a step that was never done",
        update(
            """\
        for step in range(done + 1, 10):
            activity.heartbeat(step)
            await self._work(1.0)
"""
        ),
    ),
    Answer(
        3,
        "sends a heartbeat every third step",
        [],
        "once silent for 3 s",
        update(
            LOOP.replace(
                "            activity.heartbeat(step)",
                "            if step % 3 == 0:\n                activity.heartbeat(step)",
            )
        ),
    ),
    Answer(
        3,
        "takes the details for a number",
        [],
        r"raised an exception in an attempt that came after the heartbeat \[\d\].*\n.*\n(.*\n)*TypeError",
        update(LOOP, "done = details + 1 if details else 0"),
    ),
    Answer(
        3,
        "blocks the worker",
        [],
        "calls time.sleep, which stops the whole worker",
        update(LOOP.replace("await self._work(1.0)", "time.sleep(1)")),
    ),
    Answer(
        3,
        "has no heartbeat timeout",
        [("    heartbeat_timeout=timedelta(seconds=2),\n", "")],
        "has no heartbeat_timeout",
    ),
    Answer(
        3,
        "has a heartbeat timeout of a minute",
        [("heartbeat_timeout=timedelta(seconds=2)", "heartbeat_timeout=timedelta(seconds=60)")],
        "heartbeat_timeout is 10 s or more",
    ),
    Answer(
        3, "has eight steps only", [], "The update took 8 s, and sent 8 heartbeats", update(LOOP.replace("10", "9"))
    ),
    Answer(
        3,
        "forgets that it is an activity",
        [],
        "Your perform_update_activity is no activity",
        update(LOOP).replace("    @activity.defn\n", ""),
    ),
    # 4
    Answer(
        4,
        "patches only the clusters side by side",
        [(GATHER_HOSTS, "for host in hosts:\n            await self._process_host(host)")],
        "At the same time under way were only cluster3_host1, cluster4_host1",
    ),
    Answer(
        4,
        "patches only the hosts side by side",
        [(GATHER_CLUSTERS, "[await self._process_target_cluster(cluster) for cluster in clusters]")],
        "While cluster3_host1, cluster3_host2, cluster3_host3 were being updated, no update was begun in cluster4",
    ),
    Answer(
        4,
        "does not wait for the pilots",
        [(PILOTS_AND_OTHERS, "        await self._process_hosts(hosts)\n")],
        "While the pilots were being updated, cluster3_host4.* were begun",
    ),
    Answer(
        4,
        "begins the others as soon as one pilot is done",
        [
            (
                PILOTS_AND_OTHERS,
                """\
        pilots = [asyncio.create_task(self._process_host(host)) for host in hosts[: cluster.pilot_count]]
        if pilots:
            await workflow.wait(pilots, return_when=asyncio.FIRST_COMPLETED)
        await self._process_hosts(hosts[cluster.pilot_count :])
        await asyncio.gather(*pilots)
""",
            )
        ],
        "The pilot cluster3_host3 was not patched yet, and cluster3_host[45].* (was|were) begun",
    ),
    Answer(
        4,
        "patches the others one after the other",
        [
            (
                "        await self._process_hosts(hosts[cluster.pilot_count :])\n",
                "        for host in hosts[cluster.pilot_count :]:\n            await self._process_host(host)\n",
            )
        ],
        "All other hosts of a cluster are under way at the same time",
    ),
    Answer(
        4,
        "uses asyncio.wait",
        [
            (
                GATHER_HOSTS,
                "if hosts:\n            await asyncio.wait([asyncio.create_task(self._process_host(host)) for host in hosts])",
            )
        ],
        r"asyncio.wait\(\) is non-deterministic",
    ),
    Answer(
        4,
        "loses the results",
        [("results = " + GATHER_CLUSTERS, GATHER_CLUSTERS + "\n        results: list[ClusterPatchResult] = []")],
        "For cluster3 the result has none",
    ),
    Answer(
        4,
        "patches the pilots once more with the others",
        [("self._process_hosts(hosts[cluster.pilot_count :])", "self._process_hosts(hosts)")],
        "cluster3_host1 was updated 2 times|While the pilots|was begun|were begun",
    ),
    Answer(
        4,
        "swallows the failure of a host",
        [(GATHER_HOSTS, GATHER_HOSTS.replace("])", "], return_exceptions=True)"))],
        "The workflow completed, as if all had gone well",
    ),
    Answer(
        4,
        "cannot do without pilots",
        [
            (
                GATHER_HOSTS,
                "for task in (await workflow.wait([asyncio.create_task(self._process_host(h)) for h in hosts]))[0]:\n            task.result()",
            )
        ],
        "There is an error in your workflow's code(.*\\n)+ValueError",
    ),
    Answer(
        4,
        "keeps the cluster in an attribute that all clusters share",
        [
            ("        hostnames = await", "        self._cluster = cluster\n        hostnames = await"),
            (
                "HostPatchInput(hostname, cluster.name, cluster.vault)",
                "HostPatchInput(hostname, self._cluster.name, cluster.vault)",
            ),
        ],
        "was called for cluster3_host. of cluster4",
    ),
    Answer(
        4,
        "patches two hosts at a time",
        [
            (
                GATHER_HOSTS,
                "for i in range(0, len(hosts), 2):\n            await asyncio.gather(*[self._process_host(host) for host in hosts[i : i + 2]])",
            )
        ],
        "Not begun: cluster3_host3, cluster4_host3",
    ),
    Answer(
        4,
        "forgets to await",
        [(GATHER_HOSTS, "[self._process_host(host) for host in hosts]")],
        "_process_host was called, but never awaited",
    ),
    # 5
    Answer(
        5,
        "has children for clusters only",
        [(HOST_CHILD, "        await SystemPatchWorkflow_Host_V6().run(host)\n")],
        "The workflow of the cluster itself patches cluster3_host1",
    ),
    Answer(
        5,
        "has children for hosts only",
        [(CLUSTER_CHILD, "        return await SystemPatchWorkflow_Cluster_V6().run(cluster)\n")],
        "The rollout itself looked up the hosts of cluster3",
    ),
    Answer(
        5,
        "starts the hosts' children in the rollout",
        [
            (
                CLUSTER_CHILD,
                CLUSTER_CHILD.replace("return await", "result = await")
                + """\
        cluster_workflow = SystemPatchWorkflow_Cluster_V6()
        hosts = [HostPatchInput(hostname, cluster.name, cluster.vault) for hostname in result.patched_hosts]
        await cluster_workflow._process_hosts(hosts[: cluster.pilot_count])
        await cluster_workflow._process_hosts(hosts[cluster.pilot_count :])
        return result
""",
            ),
            (PILOTS_AND_OTHERS, ""),
        ],
        "The parent of cluster3_host1's workflow is the rollout, not the workflow of its cluster",
    ),
    Answer(
        5,
        "names a cluster's child after the cluster only",
        [('child_id = f"{workflow.info().workflow_id}/{cluster.name}"', "child_id = cluster.name")],
        "A second rollout could not start its child cluster3",
    ),
    Answer(
        5,
        "gives all hosts of a cluster the same id",
        [
            (
                'child_id = f"{workflow.info().workflow_id}/{host.hostname}"',
                'child_id = f"{workflow.info().workflow_id}/host"',
            )
        ],
        "The child .*/host did not start",
    ),
    Answer(
        5,
        "starts one child after the other",
        [(GATHER_HOSTS, "for host in hosts:\n            await self._process_host(host)")],
        "At the same time under way were only",
    ),
    Answer(
        5,
        "loses the children's results",
        [
            (
                CLUSTER_CHILD,
                CLUSTER_CHILD.replace("return await", "await")
                + "        return ClusterPatchResult(cluster.name, [])\n",
            )
        ],
        "For cluster3 the result has none",
    ),
    Answer(
        5,
        "does not wait for the hosts' children",
        [(HOST_CHILD, HOST_CHILD.replace("execute_child_workflow", "start_child_workflow"))],
        "The workflow of cluster3 has ended, and its hosts have not",
    ),
    Answer(
        5,
        "loses the progress",
        [(REPORT, "")],
        "The query completed_steps does not have cluster3_host1",
    ),
    Answer(
        5,
        "appends to a list that the child does not have",
        [(REPORT, PATCHED)],
        "AttributeError: 'SystemPatchWorkflow_Host_.*' object has no attribute 'record_step'",
    ),
    Answer(
        5,
        "reports a host before it is patched",
        [(REPORT, ""), ("        try:\n" + PRECONDITIONS, "        try:\n" + REPORT + PRECONDITIONS)],
        "cluster3_host1 was still being updated, and the list had",
    ),
    Answer(
        5,
        "reports a host twice",
        [(REPORT, REPORT + REPORT)],
        "More than once in completed_steps: cluster3_host1 patched",
    ),
    Answer(
        5,
        "swallows the failure of a host's child",
        [(GATHER_HOSTS, GATHER_HOSTS.replace("])", "], return_exceptions=True)"))],
        "The workflow completed, as if all had gone well",
    ),
    Answer(
        5,
        "does not wait for the clusters",
        [(CLUSTER_CHILD, CLUSTER_CHILD.replace("execute_child_workflow", "start_child_workflow"))],
        "Is an `await` missing",
    ),
    # 6
    Answer(
        6,
        "swallows the failure",
        [(WAIT_FOR_HOSTS, "        await asyncio.gather(*tasks, return_exceptions=True)\n")],
        "cluster2_host1 was still running. Nobody told it to stop",
    ),
    Answer(
        6,
        "cancels the others, and then goes on as if nothing had happened",
        [
            (
                "            raise error.cause or error\n        finally:\n",
                "            workflow.logger.warning(str(error))\n        finally:\n",
            )
        ],
        "cluster2_host2 had failed, and cluster2_host4 was begun",
    ),
    Answer(
        6,
        "reports success although a cluster failed",
        [
            (
                WAIT_FOR_CLUSTERS,
                """\
        await asyncio.gather(*tasks, return_exceptions=True)
        results = [task.result() for task in tasks if task.exception() is None]
""",
            )
        ],
        "The rollout is Completed, although cluster2_host2 is not patched",
    ),
    Answer(
        6,
        "leaves the others running",
        [
            (
                WAIT_FOR_HOSTS,
                """\
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            task.result()
""",
            )
        ],
        "cluster2_host1 was still running. Nobody told it to stop",
    ),
    Answer(
        6,
        "does not wait for those that it cancels",
        [
            (
                "            await asyncio.gather(*tasks, return_exceptions=True)  # They end before this cluster does.\n",
                "",
            )
        ],
        "cluster2_host1 was Terminated. Its cluster ended first",
    ),
    Answer(
        6,
        "cancels the other clusters too",
        [
            (
                WAIT_FOR_CLUSTERS,
                WAIT_FOR_HOSTS.replace("await asyncio.gather(*tasks)\n", "results = await asyncio.gather(*tasks)\n"),
            )
        ],
        "cluster3 is Canceled",
    ),
    Answer(
        6,
        "fails before the other clusters are done",
        [(WAIT_FOR_CLUSTERS, "        results = await asyncio.gather(*tasks)\n")],
        "cluster3 is Terminated. The rollout ended first",
    ),
    Answer(
        6,
        "sends alerts for hosts that were cancelled",
        [(LET_CANCELLATION_THROUGH, "")],
        "cluster2_host1 was Failed. It took its cancellation for a failure",
    ),
    Answer(
        6,
        "sends alerts for hosts that were cancelled, and then lets them be cancelled",
        [
            (LET_CANCELLATION_THROUGH, ""),
            (
                '            raise ApplicationError(f"{host.hostname}: {error.cause}", type="HostNotPatched") from error\n',
                "            if is_cancelled_exception(error):\n                raise\n"
                '            raise ApplicationError(f"{host.hostname}: {error.cause}", type="HostNotPatched") from error\n',
            ),
        ],
        "There were alerts for cluster2_host1, cluster2_host2, cluster2_host3",
    ),
    Answer(
        6,
        "does not say what happened",
        [
            (
                WAIT_FOR_CLUSTERS,
                """\
        await asyncio.gather(*tasks, return_exceptions=True)
        results = [task.result() for task in tasks]
""",
            )
        ],
        "The rollout's message is 'Child Workflow execution failed'",
    ),
    Answer(
        6,
        "cancels coroutines instead of tasks",
        [("asyncio.create_task(self._process_host(host)) for host", "self._process_host(host) for host")],
        "AttributeError: 'coroutine' object has no attribute 'cancel'",
    ),
    Answer(
        6,
        "has preconditions that are tried again",
        [],
        "the check was tried again",
        preconditions('            raise ApplicationError("not ready", type="NotReady")\n'),
    ),
    Answer(
        6,
        "has no host that fails",
        [],
        "The preconditions of cluster2_host2 were met",
        preconditions("            pass\n"),
    ),
    Answer(
        6,
        "has hosts that all fail",
        [],
        "Being updated at the same time were none",
        preconditions("            pass\n" + FOR_GOOD[4:]),
    ),
]

RIGHT = [
    Answer(
        1,
        "has methods of other names than its handlers",
        [
            (
                "@workflow.update\n    def answer_approval(",
                '@workflow.update(name="answer_approval")\n    def answered(',
            ),
            ("@answer_approval.", "@answered."),
            (
                "@workflow.signal\n    def answer_approval_signal(",
                '@workflow.signal(name="answer_approval_signal")\n    def answered_by_signal(',
            ),
        ],
        client=[],
    ),
    Answer(1, "has only an update", [("\n" + SIGNAL, "")]),
    Answer(1, "has only a signal", [(UPDATE + "\n" + VALIDATOR, "")]),
    Answer(
        1,
        "waits for an event",
        [
            (
                "        self._answer: ApprovalAnswer | None = None\n",
                "        self._answer: ApprovalAnswer | None = None\n        self._answered = asyncio.Event()\n",
            ),
            (
                "await workflow.wait_condition(lambda: self._answer is not None, timeout=timeout)",
                "await asyncio.wait_for(self._answered.wait(), timeout.total_seconds())",
            ),
            ("        self._answer = answer\n", "        self._answer = answer\n        self._answered.set()\n"),
            (
                "        self._answer = self._answer or answer\n",
                "        self._answer = self._answer or answer\n        self._answered.set()\n",
            ),
        ],
    ),
    Answer(
        1,
        "looks every tenth of a second, and answers by an async handler",
        [
            (
                WAIT,
                """\
        deadline = workflow.now() + timedelta(seconds=input.approval_timeout_seconds)
        while self._answer is None:
            if workflow.now() >= deadline:
                raise ApplicationError("nobody wanted it")
            await asyncio.sleep(0.1)
""",
            ),
            ("    def answer_approval(", "    async def answer_approval("),
        ],
    ),
    Answer(
        2,
        "has step names of its own, for every step of a host",
        [
            ('"patching approved"', '"the boss said yes"'),
            (PRECONDITIONS, PRECONDITIONS + '            self.record_step(f"checked: {host.hostname}")\n'),
            (PERFORM_UPDATE, PERFORM_UPDATE + '            self.record_step(f"updated: {host.hostname}")\n'),
            ('f"{host.hostname} patched"', 'f"all done: {host.hostname}"'),
        ],
    ),
    Answer(
        2,
        "has a method of another name than its query",
        [("@workflow.query\n    def completed_steps", '@workflow.query(name="completed_steps")\n    def progress')],
        client=[],
    ),
    Answer(2, "records a host before its success notification", [(PATCHED, ""), (SUCCESS, PATCHED + SUCCESS)]),
    Answer(
        2,
        "keeps the steps in a dictionary",
        [
            ("self._completed_steps: list[str] = []", "self._completed_steps: dict[str, bool] = {}"),
            ("self._completed_steps.append(step)", "self._completed_steps[step] = True"),
        ],
    ),
    Answer(
        3,
        "reports a tuple",
        [],
        activity=update(
            LOOP.replace("heartbeat(step)", "heartbeat((host.hostname, step))"),
            "done = details[0][1] if details else 0",
        ),
    ),
    Answer(
        3,
        "reports a dataclass",
        [],
        activity=update(
            LOOP.replace("heartbeat(step)", "heartbeat(Progress(step))"), 'done = details[0]["step"] if details else 0'
        ),
    ),
    Answer(
        3,
        "reports two details",
        [],
        activity=update(
            LOOP.replace("heartbeat(step)", "heartbeat(host.hostname, step)"), "done = details[1] if details else 0"
        ),
    ),
    Answer(
        3,
        "says that it has begun, and sleeps by itself",
        [],
        activity=update(
            "        activity.heartbeat(done)\n" + LOOP.replace("await self._work(1.0)", "await asyncio.sleep(1)")
        ),
    ),
    Answer(
        3,
        "reports a list of all that is done",
        [],
        activity=update(
            """\
        for step in [step for step in range(1, 10) if step not in done]:
            await self._work(1.0)
            done.append(step)
            activity.heartbeat(done)
""",
            "done = list(details[0]) if details else []",
        ),
    ),
    Answer(
        3,
        "counts what is left",
        [],
        activity=update(
            """\
        while left:
            await self._work(1.0)
            left -= 1
            activity.heartbeat({"left": left})
""",
            'left = details[0]["left"] if details else 9',
        ),
    ),
    Answer(
        4,
        "makes tasks and awaits them one after the other",
        [
            (
                GATHER_HOSTS,
                "tasks = [asyncio.create_task(self._process_host(host)) for host in hosts]\n        for task in tasks:\n            await task",
            ),
        ],
    ),
    Answer(
        4,
        "uses workflow.wait",
        [
            (
                GATHER_HOSTS,
                """\
tasks = [asyncio.create_task(self._process_host(host)) for host in hosts]
        if tasks:
            await workflow.wait(tasks)
        for task in tasks:
            task.result()
""",
            )
        ],
    ),
    Answer(
        5,
        "starts the hosts' children straight from the cluster's run",
        [
            (
                PILOTS_AND_OTHERS,
                """\
        for batch in (hosts[: cluster.pilot_count], hosts[cluster.pilot_count :]):
            handles = [
                await workflow.start_child_workflow(
                    SystemPatchWorkflow_Host_V6.run, host, id=f"{workflow.info().workflow_id}/{host.hostname}"
                )
                for host in batch
            ]
            await asyncio.gather(*handles)
""",
            )
        ],
    ),
    Answer(
        5,
        "names its children in a way of its own",
        [
            ('f"{workflow.info().workflow_id}/{cluster.name}"', 'f"{cluster.name}-{workflow.uuid4()}"'),
            (
                'f"{workflow.info().workflow_id}/{host.hostname}"',
                'f"host {host.hostname} of {workflow.info().workflow_id}"',
            ),
            ("SystemPatchWorkflow_Host_V6", "OneHost"),
        ],
    ),
    Answer(
        5,
        "records the hosts when their cluster is done",
        [
            (REPORT, ""),
            (
                CLUSTER_CHILD,
                CLUSTER_CHILD.replace("return await", "result: ClusterPatchResult = await")
                + '        for hostname in result.patched_hosts:\n            self.record_step(f"{hostname} patched")\n        return result\n',
            ),
        ],
    ),
    Answer(
        6,
        "waits for the first exception",
        [
            (
                WAIT_FOR_HOSTS,
                """\
        if not tasks:
            return
        await workflow.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if not task.done():
                task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, ChildWorkflowError) and not is_cancelled_exception(result):
                raise result.cause or result
""",
            )
        ],
    ),
    Answer(
        6,
        "cancels the others when it catches the failure",
        [
            (
                WAIT_FOR_HOSTS,
                """\
        try:
            await asyncio.gather(*tasks)
        except ChildWorkflowError as error:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise ApplicationError(f"cluster failed: {error.cause}") from error
""",
            )
        ],
    ),
    Answer(
        6,
        "lets the retry policy say what is not tried again",
        [
            (
                "    start_to_close_timeout=timedelta(seconds=30),\n    retry_policy=RetryPolicy(maximum_attempts=3),",
                "    start_to_close_timeout=timedelta(seconds=30),\n"
                '    retry_policy=RetryPolicy(maximum_attempts=3, non_retryable_error_types=["NotReady"]),',
            )
        ],
        activity=preconditions(
            '            await asyncio.sleep(3)\n            raise ApplicationError("not ready", type="NotReady")\n'
        ),
    ),
]
