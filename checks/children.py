"""What exercises 5 and 6 have in common: child workflows."""

from checks.failure import CheckFailure
from checks.lab import Lab
from support.histories import Handle, family, history, own_name

from temporalio.api.enums.v1 import EventType, ParentClosePolicy

LONGEST_UPDATE = 30.0  # Seconds that an update takes if each of its three attempts takes as long as it may.


async def children_are_plain(lab: Lab, handle: Handle) -> None:
    """Raise `CheckFailure` if a child was started with an option that cuts it short, repeats it or lets it loose."""
    for run in await family(lab.client, handle):
        for event in await history(run):
            if event.event_type != EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
                continue
            child = event.start_child_workflow_execution_initiated_event_attributes
            name = own_name(child.workflow_id)
            for timeout in (child.workflow_execution_timeout, child.workflow_run_timeout):
                if 0 < (seconds := timeout.ToTimedelta().total_seconds()) < LONGEST_UPDATE:
                    raise CheckFailure(
                        f"The child {name} is given {seconds:g} s for all its work.",
                        "An update takes 9 s, and has three attempts of 10 s. A child needs no timeout of its own: its "
                        "activities have theirs.",
                    )
            if child.HasField("retry_policy") and child.retry_policy.maximum_attempts != 1:
                raise CheckFailure(
                    f"The child {name} is given a retry_policy: if it fails, all of it is done again.",
                    "A workflow is not tried again as a whole, its activities are.",
                )
            if child.parent_close_policy == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON:
                raise CheckFailure(
                    f"The child {name} has the parent_close_policy ABANDON: it goes on when its parent is terminated.",
                    "When a rollout has ended, whatever the reason, nothing of it is under way any more.",
                )
