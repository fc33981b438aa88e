"""The data that travels between client, workflows and activities.

All of it ends up in event histories, where everybody may read it. So there is no secret in here: `VaultReference`
says where the secrets are, and only activities look them up.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from temporalio.exceptions import ApplicationError

MOST_CLUSTERS = 200
MOST_LETTERS = 500


@dataclass
class VaultReference:
    """Where the SSH keys are kept. The token that opens Vault is not in here: each worker has its own."""

    address: str
    secret_path_prefix: str

    def __post_init__(self) -> None:
        _require_text("vault.address", self.address)
        _require_text("vault.secret_path_prefix", self.secret_path_prefix)


@dataclass
class SystemPatchInput:
    """What to patch: the input of the workflow.

    Raises an `ApplicationError` of type `InvalidInput` that names the field if a value makes no sense. In a client
    that stops the start; in a workflow it fails the workflow at once, where any other exception would make the server
    retry the workflow task for ever.
    """

    target_clusters: list[str]
    pilot_count: int  # Hosts of each cluster that are patched first.
    vault: VaultReference
    approval_timeout_seconds: int = 300

    def __post_init__(self) -> None:
        _require_names("target_clusters", self.target_clusters)
        _require_whole_number("pilot_count", self.pilot_count, 0, 1_000_000)
        _require_whole_number("approval_timeout_seconds", self.approval_timeout_seconds, 1, 366 * 24 * 3600)
        if not isinstance(self.vault, VaultReference):
            raise _invalid("vault", "must be a VaultReference")


@dataclass
class ClusterPatchInput:
    """One cluster, with all that is needed to patch its hosts."""

    name: str
    pilot_count: int
    vault: VaultReference

    def __post_init__(self) -> None:
        _require_names("name", [self.name])


@dataclass
class HostPatchInput:
    """One host, with all that is needed to patch it."""

    hostname: str
    cluster: str
    vault: VaultReference

    def __post_init__(self) -> None:
        _require_text("hostname", self.hostname)


@dataclass
class HostFailure:
    """A host that could not be patched, and why: what a failure alert says."""

    hostname: str
    reason: str


@dataclass
class ApprovalAnswer:
    """The answer to an approval request: yes or no, and who says so."""

    approved: bool
    approver: str

    def __post_init__(self) -> None:
        _require_text("approver", self.approver)


@dataclass
class ClusterPatchResult:
    """The hosts of one cluster that were patched."""

    cluster: str
    patched_hosts: list[str]


@dataclass
class SystemPatchResult:
    """The hosts that were patched, cluster by cluster: the result of the workflow."""

    clusters: list[ClusterPatchResult]


def _require_names(field: str, names: Iterable[str]) -> None:
    if not isinstance(names, list) or not names:
        raise _invalid(field, "must be a list with at least one cluster name")
    # More would not fit into one history, which ends at 51,200 events: https://docs.temporal.io/workflow-execution/limits
    if len(names) > MOST_CLUSTERS:
        raise _invalid(field, f"must have at most {MOST_CLUSTERS} names, not {len(names)}")
    for name in names:
        # Names become part of host names and workflow ids, so they are kept short and plain.
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
            raise _invalid(field, f"has a bad name, {name!r:.40}: use up to 63 letters, digits, '_', '.' and '-'")
    if len(set(names)) < len(names):
        raise _invalid(field, "names a cluster twice")


def _require_whole_number(field: str, value: int, at_least: int, at_most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise _invalid(field, f"must be a whole number, {at_least} or more, not {value!r:.40}")
    if value > at_most:
        raise _invalid(field, f"must be at most {at_most}")


def _require_text(field: str, value: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise _invalid(field, "must be a text that is not empty")
    # It is shown in the Web UI and at terminals, which control characters would upset.
    if len(value) > MOST_LETTERS or not value.isprintable():
        raise _invalid(field, f"must have at most {MOST_LETTERS} letters, and no control characters")


def _invalid(field: str, problem: str) -> ApplicationError:
    return ApplicationError(f"{field} {problem}", type="InvalidInput", non_retryable=True)
