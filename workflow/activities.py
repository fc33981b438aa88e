"""The activities: every step of the patching process that touches the world outside the workflow.

Here the world is simulated: an activity sleeps a little and writes to the log. Real ones would call Vault, an
inventory, SSH, a chat. `SystemPatchActivities` has them all; the later classes change one activity each:

    SystemPatchActivities      what versions 1 to 3 use
    SystemPatchActivities_V4   `perform_update_activity` heartbeats, and resumes where it was
    SystemPatchActivities_V7   `check_host_preconditions_activity` fails for one host
"""

import asyncio
import os

from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflow.types import (
    ClusterPatchInput,
    HostFailure,
    HostPatchInput,
    SystemPatchInput,
    SystemPatchResult,
    VaultReference,
)

HOSTS_PER_CLUSTER = 5
UPDATE_STEPS = 9
SLOW_STARTING_HOST = "cluster1_host1"  # Its health check fails at the first attempt.
BROKEN_HOST = "cluster2_host2"  # Its preconditions are not met in version 7.


class SimulatedVault:
    """Stands in for a Vault client."""

    def __init__(self, vault: VaultReference) -> None:
        """Open Vault with the worker's own token, from VAULT_TOKEN. Any token will do but an empty one."""
        self._vault = vault
        if not os.environ.get("VAULT_TOKEN", "workshop-token").strip():
            raise ApplicationError("Vault refuses an empty VAULT_TOKEN", type="VaultDenied", non_retryable=True)

    def read_ssh_key(self, hostname: str) -> str:
        """Return the private key that opens `hostname`: for use inside an activity, never as its result."""
        return f"ssh key at {self._vault.address}/{self._vault.secret_path_prefix}/{hostname}"


class SystemPatchActivities:
    """All activities of the patching process, as versions 1 to 3 use them."""

    def __init__(self, pace: float = 1.0, hosts_per_cluster: int = HOSTS_PER_CLUSTER) -> None:
        """Set the pace of the simulated work: 1.0 takes 0.1 to 0.5 seconds an activity, 0 takes no time at all.

        `hosts_per_cluster` is how many hosts the simulated inventory knows of each.
        """
        self._pace = pace
        self._hosts_per_cluster = hosts_per_cluster

    async def _work(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self._pace)

    # Before and after all hosts.

    @activity.defn
    async def request_approval_activity(self, input: SystemPatchInput) -> None:
        """Ask the people in charge to approve the patching of these clusters."""
        await self._work(0.1)
        activity.logger.info("Approval requested for %s", ", ".join(input.target_clusters))

    @activity.defn
    async def check_vault_access_activity(self, vault: VaultReference) -> None:
        """Make sure that this worker's Vault client is let in. Fails without a retry if Vault refuses it."""
        await self._work(0.1)
        SimulatedVault(vault)
        activity.logger.info("Vault at %s lets us in", vault.address)

    @activity.defn
    async def get_cluster_hosts_activity(self, cluster: ClusterPatchInput) -> list[str]:
        """Return the names of the hosts of the cluster."""
        await self._work(0.2)
        return [f"{cluster.name}_host{number}" for number in range(1, self._hosts_per_cluster + 1)]

    @activity.defn
    async def send_final_success_notification_activity(self, result: SystemPatchResult) -> None:
        """Tell everybody that all hosts of all clusters are patched."""
        await self._work(0.1)
        activity.logger.info("All hosts are patched: %s", ", ".join(cluster.cluster for cluster in result.clusters))

    # For each host, in this order.

    @activity.defn
    async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
        """Make sure that the host may be patched now. Fails without a retry if its preconditions are not met."""
        await self._work(0.2)
        activity.logger.info("%s: preconditions are met", host.hostname)

    @activity.defn
    async def send_start_notification_activity(self, host: HostPatchInput) -> None:
        """Tell the users of the host that its patching begins."""
        await self._work(0.1)
        activity.logger.info("%s: start notification sent", host.hostname)

    @activity.defn
    async def run_pre_downtime_scripts_activity(self, host: HostPatchInput) -> None:
        """Run the scripts that prepare the host while it still serves."""
        await self._run_over_ssh(host, "pre-downtime scripts")

    @activity.defn
    async def set_maintenance_mode_activity(self, host: HostPatchInput) -> None:
        """Silence the host's monitoring."""
        await self._run_over_ssh(host, "maintenance mode on")

    @activity.defn
    async def stop_services_activity(self, host: HostPatchInput) -> None:
        """Stop the host's services."""
        await self._run_over_ssh(host, "services stopped")

    @activity.defn
    async def wait_for_workload_drain_activity(self, host: HostPatchInput) -> None:
        """Wait until no work is left on the host."""
        await self._run_over_ssh(host, "workload drained")

    @activity.defn
    async def run_pre_update_scripts_activity(self, host: HostPatchInput) -> None:
        """Run the scripts that come right before the update."""
        await self._run_over_ssh(host, "pre-update scripts")

    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        """Install the update on the host."""
        activity.logger.info("%s: update started, attempt %d", host.hostname, activity.info().attempt)
        await self._work(0.2)
        await self._run_over_ssh(host, "update installed")

    @activity.defn
    async def start_services_activity(self, host: HostPatchInput) -> None:
        """Start the host's services again."""
        await self._run_over_ssh(host, "services started")

    @activity.defn
    async def run_post_update_scripts_activity(self, host: HostPatchInput) -> None:
        """Run the scripts that come right after the update."""
        await self._run_over_ssh(host, "post-update scripts")

    @activity.defn
    async def check_service_health_activity(self, host: HostPatchInput) -> None:
        """Make sure that the host's services answer. Fails, to be tried again, as long as they don't."""
        await self._work(0.2)
        if host.hostname == SLOW_STARTING_HOST and activity.info().attempt == 1:
            raise ApplicationError(f"{host.hostname}: services do not answer yet", type="ServiceNotHealthy")
        activity.logger.info("%s: services are healthy, attempt %d", host.hostname, activity.info().attempt)

    @activity.defn
    async def send_success_notification_activity(self, host: HostPatchInput) -> None:
        """Tell the users of the host that it is patched."""
        await self._work(0.1)
        activity.logger.info("%s: success notification sent", host.hostname)

    @activity.defn
    async def send_failure_alert_activity(self, failure: HostFailure) -> None:
        """Call the people who must look at a host that could not be patched."""
        await self._work(0.1)
        activity.logger.info("%s: failure alert sent: %s", failure.hostname, failure.reason)

    async def _run_over_ssh(self, host: HostPatchInput, command: str) -> None:
        SimulatedVault(host.vault).read_ssh_key(host.hostname)
        await self._work(0.3)
        activity.logger.info("%s: %s", host.hostname, command)


class SystemPatchActivities_V4(SystemPatchActivities):
    """The update takes longer and reports each step by a heartbeat, so that a retry can resume where it stopped."""

    @activity.defn
    async def perform_update_activity(self, host: HostPatchInput) -> None:
        """Install the update on the host, in nine steps of a second each."""
        activity.logger.info("***Starting perform_update_activity*** %s", host.hostname)
        # What the last attempt reported before it died: the number of the last step that it completed.
        details = activity.info().heartbeat_details
        completed_step = details[0] if details else 0
        for step in range(completed_step + 1, UPDATE_STEPS + 1):
            await self._work(1.0)
            activity.heartbeat(step)
            activity.logger.info("%s: update step %d of %d done", host.hostname, step, UPDATE_STEPS)


class SystemPatchActivities_V7(SystemPatchActivities_V4):
    """One host can't be patched."""

    @activity.defn
    async def check_host_preconditions_activity(self, host: HostPatchInput) -> None:
        """Make sure that the host may be patched now: for one host it takes three seconds to find that it may not."""
        if host.hostname == BROKEN_HOST:
            await self._work(3.0)
            raise ApplicationError("preconditions are not met", type="PreconditionsNotMet", non_retryable=True)
        await super().check_host_preconditions_activity(host)
