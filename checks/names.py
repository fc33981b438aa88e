"""Names that the checks use: of activities, hosts and clusters, and how such names stand in a sentence."""

from workflow.types import (
    ApprovalAnswer,
    ClusterPatchInput,
    HostFailure,
    HostPatchInput,
    SystemPatchInput,
    VaultReference,
)

from collections.abc import Iterable
from typing import Any

REQUEST = "request_approval_activity"
CHECK_VAULT = "check_vault_access_activity"
GET_HOSTS = "get_cluster_hosts_activity"
PRECONDITIONS = "check_host_preconditions_activity"
START = "send_start_notification_activity"
SCRIPTS = "run_pre_downtime_scripts_activity"
UPDATE = "perform_update_activity"
HEALTH = "check_service_health_activity"
SUCCESS = "send_success_notification_activity"
ALERT = "send_failure_alert_activity"
FINAL = "send_final_success_notification_activity"
OF_ROLLOUT = [REQUEST, CHECK_VAULT, FINAL]
"""What is done once in a rollout. Between the last two come the clusters."""
OF_HOST = [PRECONDITIONS, START, SCRIPTS, UPDATE, HEALTH, SUCCESS]
"""What is done once with each host, one after the other."""

VAULT = VaultReference("https://vault.example.com:8200", "ssh/hosts")
YES = ApprovalAnswer(approved=True, approver="Ann")
NO = ApprovalAnswer(approved=False, approver="Bob")


def hosts_of(cluster: str, count: int) -> list[str]:
    """Return the names of a cluster's first hosts."""
    return [f"{cluster}_host{number}" for number in range(1, count + 1)]


def subject_of(args: Iterable[Any]) -> str:
    """Return the host, cluster or clusters that an activity's arguments are about, or nothing."""
    for value in args:
        if isinstance(value, HostPatchInput | HostFailure):
            return value.hostname
        if isinstance(value, ClusterPatchInput):
            return value.name
        if isinstance(value, SystemPatchInput):
            return ", ".join(value.target_clusters)
    return ""


def listed(names: Iterable[str]) -> str:
    """Return names as they stand in a sentence."""
    return ", ".join(sorted(names)) or "none"


def were(names: Iterable[str]) -> str:
    """Return names with the verb that fits them, as a part of a sentence."""
    return f"{listed(names)} {'was' if len(set(names)) == 1 else 'were'}"
