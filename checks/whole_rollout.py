"""One rollout in which nothing is held and nothing fails: all that belongs to it is done, once and in its order."""

from checks.failure import CheckFailure
from checks.lab import Lab
from checks.names import ALERT, CHECK_VAULT, GET_HOSTS, OF_HOST, OF_ROLLOUT, UPDATE, hosts_of, listed
from checks.watch import Call
from support.histories import family, history

import itertools

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

# Many, so that a set of their names, or of what is begun for each of them, has another order in another process.
CLUSTERS = [f"cluster{number}" for number in range(11, 16)]
LARGE_CLUSTER, HOSTS = CLUSTERS[2], 3
ONCE = "It does what it did before: this is done once, and neither left out nor done again."


async def patch_five_clusters(lab: Lab, vault_first: bool = False) -> None:
    """Let a rollout patch five clusters. Raises `CheckFailure` if something is left out, done twice or too early.

    From exercise 8 on, with `vault_first`, the access to Vault is checked before the request for approval.
    """
    lab.hosts_per_cluster = HOSTS
    lab.small_clusters |= {*CLUSTERS} - {LARGE_CLUSTER}
    lab.skipped.add(UPDATE)  # A learner's own one may take real time.
    begun = next(lab.order)
    handle = await lab.start(CLUSTERS, pilot_count=2)
    await lab.approve(handle)
    result = await lab.result(handle, "A rollout of five clusters completes.")
    runs = await family(lab.client, handle)
    order = Order()
    for run in runs:
        order.read(await history(run))
    ids = {run.id for run in runs}
    calls = first_attempts([call for call in lab.calls if call.workflow_id in ids and call.begun_at > begun])
    hosts = {cluster: hosts_of(cluster, HOSTS if cluster == LARGE_CLUSTER else 1) for cluster in CLUSTERS}

    steps = {}
    for name in OF_ROLLOUT if lab.ways() else OF_ROLLOUT[1:]:  # Version 1 does not ask for an approval.
        found = [call for call in calls if call.name == name]
        once(found, name)
        steps[name] = found[0]
    if vault_first:
        steps = {CHECK_VAULT: steps[CHECK_VAULT], **steps}
    *before, final = steps.values()
    order.one_after_the_other([*before, final])
    for cluster in CLUSTERS:
        looked_up = [call for call in calls if (call.name, call.subject) == (GET_HOSTS, cluster)]
        once(looked_up, f"{GET_HOSTS} of {cluster}")
        order.one_after_the_other([before[-1], looked_up[0]])
        for host in hosts[cluster]:
            of_host = steps_of([call for call in calls if call.subject == host], host)
            order.one_after_the_other([looked_up[0], *of_host, final])
    if alerts := {call.subject for call in calls if call.name == ALERT}:
        raise CheckFailure(f"Nothing had failed, and there were alerts for {listed(alerts)}.", ONCE)
    patched = {cluster.cluster: sorted(cluster.patched_hosts) for cluster in result.clusters}
    if patched != {cluster: sorted(names) for cluster, names in hosts.items()}:
        raise CheckFailure(f"The result has the hosts {patched}.", "It names all clusters, and their hosts.")


def first_attempts(calls: list[Call]) -> list[Call]:
    """Return the calls without those that are a later attempt of another."""
    first: dict[tuple[str, str], Call] = {}
    for call in calls:
        earlier = first.setdefault((call.run_id, call.activity_id), call)
        earlier.ended_at = max(earlier.ended_at, call.ended_at)
    return list(first.values())


def once(calls: list[Call], what: str) -> None:
    """Raise `CheckFailure` if that was not called once."""
    if len(calls) != 1:
        times = {0: "not at all", 2: "twice"}.get(len(calls), f"{len(calls)} times")
        raise CheckFailure(f"In a rollout of five clusters, {what} was begun {times}.", ONCE)


def steps_of(calls: list[Call], host: str) -> list[Call]:
    """Return a host's steps. Raises `CheckFailure` if not each was called once."""
    steps = []
    for name in OF_HOST:
        found = [call for call in calls if call.name == name]
        once(found, f"{name} of {host}")
        steps.append(found[0])
    return steps


class Order:
    """What came after what. Between activities of one run its history says it, whoever happened to be quicker."""

    def __init__(self) -> None:
        """Begin without any history."""
        self._scheduled: dict[tuple[str, str], int] = {}
        self._closed: dict[tuple[str, str], int] = {}

    def read(self, events: list[HistoryEvent]) -> None:
        """Take in the history of a run."""
        run_id = events[0].workflow_execution_started_event_attributes.original_execution_run_id
        ids: dict[int, str] = {}
        for event in events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                ids[event.event_id] = event.activity_task_scheduled_event_attributes.activity_id
                self._scheduled[run_id, ids[event.event_id]] = event.event_id
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                scheduled_id = event.activity_task_completed_event_attributes.scheduled_event_id
                self._closed[run_id, ids[scheduled_id]] = event.event_id

    def is_kept(self, before: Call, after: Call) -> bool:
        """Return whether the one had ended before the other was begun."""
        if before.run_id == after.run_id:
            scheduled = self._scheduled.get((after.run_id, after.activity_id))
            closed = self._closed.get((before.run_id, before.activity_id))
            if scheduled and closed and scheduled < closed:
                return False
        return bool(before.ended_at) and before.ended_at < after.begun_at

    def one_after_the_other(self, calls: list[Call]) -> None:
        """Raise `CheckFailure` if one of these was begun before the one before it had ended."""
        for before, after in itertools.pairwise(calls):
            if not self.is_kept(before, after):
                of = f" of {after.subject}" if after.subject else ""
                raise CheckFailure(
                    f"{after.name}{of} was begun before {before.name} had ended.",
                    "One comes after the other, as before: `await` waits for an activity's end.",
                )
