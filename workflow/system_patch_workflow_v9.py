import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workflow.activities import SystemPatchActivities_V4 as SystemPatchActivities
    from workflow.types import (
        ApprovalAnswer,
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
    heartbeat_timeout=timedelta(seconds=2),
    retry_policy=RetryPolicy(maximum_attempts=3),
)


@workflow.defn
class SystemPatchWorkflow_V9:
    """Patches the hosts of all target clusters, in each cluster the pilots first."""

    def __init__(self) -> None:
        self._answer: ApprovalAnswer | None = None
        self._completed_steps: list[str] = []

    @workflow.run
    async def run(self, input: SystemPatchInput) -> SystemPatchResult:
        workflow.logger.info("Patching %s", ", ".join(input.target_clusters))
        vault = input.vault
        if workflow.patched("vault-first"):
            await workflow.execute_activity_method(
                SystemPatchActivities.check_vault_access_activity, vault, **OPTIONS | {"summary": vault.address}
            )
        await workflow.execute_activity_method(
            SystemPatchActivities.request_approval_activity, input, **OPTIONS | {"summary": "All hosts"}
        )
        try:
            timeout = timedelta(seconds=input.approval_timeout_seconds)
            await workflow.wait_condition(lambda: self._answer is not None, timeout=timeout)
        except asyncio.TimeoutError:
            raise ApplicationError(f"No answer within {timeout}", type="ApprovalTimeout") from None
        if self._answer is not None and not self._answer.approved:
            raise ApplicationError(f"Rejected by {self._answer.approver}", type="ApprovalRejected")
        self.record_step("patching approved")
        if not workflow.patched("vault-first"):  # A run that was past the place above when this patch came.
            await workflow.execute_activity_method(
                SystemPatchActivities.check_vault_access_activity, vault, **OPTIONS | {"summary": vault.address}
            )
        clusters = [ClusterPatchInput(name, input.pilot_count, input.vault) for name in input.target_clusters]
        tasks = [asyncio.create_task(self._process_target_cluster(cluster)) for cluster in clusters]
        await asyncio.gather(*tasks, return_exceptions=True)  # A cluster that fails does not stop the others.
        try:
            results = [task.result() for task in tasks]
        except ChildWorkflowError as error:
            raise error.cause if isinstance(error.cause, ApplicationError) else error
        result = SystemPatchResult(results)
        await workflow.execute_activity_method(
            SystemPatchActivities.send_final_success_notification_activity, result, **OPTIONS | {"summary": "All hosts"}
        )
        return result

    @workflow.update
    def answer_approval(self, answer: ApprovalAnswer) -> str:
        self._answer = answer
        return "approved" if answer.approved else "rejected"

    @answer_approval.validator
    def validate_answer(self, answer: ApprovalAnswer) -> None:
        if self._answer is not None:
            raise ApplicationError(f"Already answered by {self._answer.approver}", type="AlreadyAnswered")

    @workflow.signal
    def answer_approval_signal(self, answer: ApprovalAnswer) -> None:
        self._answer = self._answer or answer

    @workflow.query
    def completed_steps(self) -> list[str]:
        return list(self._completed_steps)

    @workflow.signal
    def record_step(self, step: str) -> None:
        self._completed_steps.append(step)

    async def _process_target_cluster(self, cluster: ClusterPatchInput) -> ClusterPatchResult:
        return await workflow.execute_child_workflow(
            SystemPatchWorkflow_Cluster_V9.run,
            cluster,
            id=f"{workflow.info().workflow_id}/{cluster.name}",
            static_summary=cluster.name,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        )


@workflow.defn
class SystemPatchWorkflow_Cluster_V9:
    """Patches the hosts of one cluster, the pilots first."""

    @workflow.run
    async def run(self, cluster: ClusterPatchInput) -> ClusterPatchResult:
        hostnames = await workflow.execute_activity_method(
            SystemPatchActivities.get_cluster_hosts_activity, cluster, **OPTIONS | {"summary": cluster.name}
        )
        hosts = [HostPatchInput(hostname, cluster.name, cluster.vault) for hostname in hostnames]
        # If a pilot fails, the other hosts stay as they are.
        await self._process_hosts(hosts[: cluster.pilot_count])
        await self._process_hosts(hosts[cluster.pilot_count :])
        return ClusterPatchResult(cluster.name, hostnames)

    async def _process_hosts(self, hosts: list[HostPatchInput]) -> None:
        tasks = [asyncio.create_task(self._process_host(host)) for host in hosts]
        try:
            await asyncio.gather(*tasks)
        except ChildWorkflowError as error:
            raise error.cause if isinstance(error.cause, ApplicationError) else error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # They end before this cluster does.

    async def _process_host(self, host: HostPatchInput) -> None:
        await workflow.execute_child_workflow(
            SystemPatchWorkflow_Host_V9.run,
            host,
            id=f"{workflow.info().workflow_id}/{host.hostname}",
            static_summary=host.hostname,
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
        )


@workflow.defn
class SystemPatchWorkflow_Host_V9:
    """Patches one host."""

    @workflow.run
    async def run(self, host: HostPatchInput) -> None:
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
            if root := workflow.info().root:
                handle = workflow.get_external_workflow_handle(root.workflow_id, run_id=root.run_id)
                try:
                    # Without the shield, SDK 1.35 could not cancel a signal that has just failed.
                    await asyncio.shield(handle.signal(SystemPatchWorkflow_V9.record_step, f"{host.hostname} patched"))
                except ApplicationError:  # The rollout has ended, or was reset.
                    workflow.logger.warning("%s is patched, but its rollout does not hear of it", host.hostname)
            # The workflow's own meter counts once, however often this code is replayed.
            hosts_patched = workflow.metric_meter().create_counter("hosts_patched", "Hosts that were patched")
            hosts_patched.add(1, {"cluster": host.cluster})
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            failure = HostFailure(host.hostname, str(error.cause))
            await workflow.execute_activity_method(
                SystemPatchActivities.send_failure_alert_activity, failure, **OPTIONS | {"summary": host.hostname}
            )
            raise ApplicationError(f"{host.hostname}: {error.cause}", type="HostNotPatched") from error
