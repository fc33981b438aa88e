from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflow.activities import SystemPatchActivities
    from workflow.types import (
        ClusterPatchInput,
        ClusterPatchResult,
        HostFailure,
        HostPatchInput,
        SystemPatchInput,
        SystemPatchResult,
    )

OPTIONS = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(maximum_attempts=3),
)
UPDATE_OPTIONS = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_attempts=3),
)


@workflow.defn
class SystemPatchWorkflow_V1:
    """Patches the hosts of all target clusters, in each cluster the pilots first."""

    @workflow.run
    async def run(self, input: SystemPatchInput) -> SystemPatchResult:
        workflow.logger.info("Patching %s", ", ".join(input.target_clusters))
        await workflow.execute_activity_method(
            SystemPatchActivities.check_vault_access_activity, input.vault, **OPTIONS | {"summary": input.vault.address}
        )
        clusters = [ClusterPatchInput(name, input.pilot_count, input.vault) for name in input.target_clusters]
        results = [await self._process_target_cluster(cluster) for cluster in clusters]
        result = SystemPatchResult(results)
        await workflow.execute_activity_method(
            SystemPatchActivities.send_final_success_notification_activity, result, **OPTIONS | {"summary": "All hosts"}
        )
        return result

    async def _process_target_cluster(self, cluster: ClusterPatchInput) -> ClusterPatchResult:
        hostnames = await workflow.execute_activity_method(
            SystemPatchActivities.get_cluster_hosts_activity, cluster, **OPTIONS | {"summary": cluster.name}
        )
        hosts = [HostPatchInput(hostname, cluster.name, cluster.vault) for hostname in hostnames]
        # If a pilot fails, the other hosts stay as they are.
        await self._process_hosts(hosts[: cluster.pilot_count])
        await self._process_hosts(hosts[cluster.pilot_count :])
        return ClusterPatchResult(cluster.name, hostnames)

    async def _process_hosts(self, hosts: list[HostPatchInput]) -> None:
        for host in hosts:
            await self._process_host(host)

    async def _process_host(self, host: HostPatchInput) -> None:
        try:
            await workflow.execute_activity_method(
                SystemPatchActivities.check_host_preconditions_activity, host, **OPTIONS | {"summary": host.hostname}
            )
            await workflow.execute_activity_method(
                SystemPatchActivities.send_start_notification_activity, host, **OPTIONS | {"summary": host.hostname}
            )
            await workflow.execute_activity_method(
                SystemPatchActivities.run_pre_downtime_scripts_activity, host, **OPTIONS | {"summary": host.hostname}
            )
            # set_maintenance_mode_activity: skipped for simplicity
            # stop_services_activity: skipped for simplicity
            # wait_for_workload_drain_activity: skipped for simplicity
            # run_pre_update_scripts_activity: skipped for simplicity
            await workflow.execute_activity_method(
                SystemPatchActivities.perform_update_activity, host, **UPDATE_OPTIONS | {"summary": host.hostname}
            )
            # start_services_activity: skipped for simplicity
            # run_post_update_scripts_activity: skipped for simplicity
            await workflow.execute_activity_method(
                SystemPatchActivities.check_service_health_activity, host, **OPTIONS | {"summary": host.hostname}
            )
            await workflow.execute_activity_method(
                SystemPatchActivities.send_success_notification_activity, host, **OPTIONS | {"summary": host.hostname}
            )
        except ActivityError as error:
            failure = HostFailure(host.hostname, str(error.cause))
            await workflow.execute_activity_method(
                SystemPatchActivities.send_failure_alert_activity, failure, **OPTIONS | {"summary": host.hostname}
            )
            raise ApplicationError(f"{host.hostname}: {error.cause}", type="HostNotPatched") from error
