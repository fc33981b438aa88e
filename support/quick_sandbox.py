"""Spares workers a detour of the SDK's.

For each value that a workflow hands on or gets, version 1.35 of the SDK goes into the workflow's sandbox two or three
times, to ask what the value belongs to (`_CommandAwareDataConverter` in temporalio/worker/_workflow.py). Only a data
converter, a codec or a storage that encodes by that needs to know, and here is none. Where one workflow has many hosts,
a worker would spend two thirds of its processor time on these questions.
"""

from temporalio.converter import StorageDriverStoreContext
from temporalio.plugin import SimplePlugin
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner


class QuickSandbox(SandboxedWorkflowRunner):
    """The SDK's sandbox, but that it answers these questions by itself."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return what runs one workflow."""
        instance = super().create_instance(det)
        nowhere = StorageDriverStoreContext(target=None)
        instance.get_serialization_context = lambda command_info: None  # type: ignore[method-assign]
        instance.get_external_store_context = lambda command_info: nowhere  # type: ignore[method-assign]
        return instance


def quick_runner(runner: WorkflowRunner | None) -> WorkflowRunner:
    """Return a worker's runner, made quick if it is the SDK's sandbox."""
    if type(runner) is SandboxedWorkflowRunner:
        return QuickSandbox(runner.restrictions, runner.runner_class)
    return runner or QuickSandbox()


def quick_sandbox() -> SimplePlugin:
    """Return a plugin for a client: the workers that are made with it get the quick sandbox."""
    return SimplePlugin("workshop.quick_sandbox", workflow_runner=quick_runner)
