"""The command line of `temporal_client.py`."""

from workflow.types import ApprovalAnswer, SystemPatchInput, VaultReference
from workflow.versions import Version, VersionError, find_version

import argparse
import sys
from dataclasses import dataclass

from temporalio.exceptions import ApplicationError


@dataclass
class ClientFlags:
    """What a client is told on its command line."""

    version: Version
    input: SystemPatchInput
    answer: ApprovalAnswer | None
    """The answer to the approval request. None with --no-answer."""
    by_signal: bool
    attach: bool
    poll_interval: float
    """Seconds between two questions for the progress."""


def read_flags(description: str | None, default_version: str) -> ClientFlags:
    """Return what the command line says. If it is wrong, ends the process with exit code 2 and a line that says why."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(
        "version",
        nargs="?",
        default=default_version,
        help=f"version of the workflow, such as v3 (default: {default_version})",
    )
    parser.add_argument(
        "--clusters",
        default="cluster1,cluster2,cluster3",
        help="clusters to patch, with commas between them (default: cluster1,cluster2,cluster3)",
    )
    parser.add_argument(
        "--pilot-count", type=int, default=3, help="hosts of each cluster that are patched first (default: 3)"
    )
    parser.add_argument(
        "--approval-timeout",
        type=int,
        default=300,
        metavar="SECONDS",
        help="how long the workflow waits for an approval, in seconds (default: 300)",
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="time between two questions for the progress, in seconds (default: 1)",
    )
    parser.add_argument("--signal", action="store_true", help="answer the approval request by signal, not by update")
    parser.add_argument(
        "--attach",
        action="store_true",
        help="pick up the run that is there instead of starting one, as after Ctrl-C (what it patches stays as it is)",
    )
    answer = parser.add_mutually_exclusive_group()
    answer.add_argument("--reject", action="store_true", help="reject the approval request")
    answer.add_argument("--no-answer", action="store_true", help="leave the approval request unanswered")
    arguments = parser.parse_args()
    if not 0.05 <= arguments.poll_interval <= 3600:
        parser.error("--poll-interval must be a number of seconds from 0.05 to 3600")
    try:
        version = find_version(arguments.version)
        if (arguments.signal or arguments.reject or arguments.no_answer) and not version.has_approval:
            parser.error(
                f"{version.name} asks for no approval: --signal, --reject and --no-answer come with exercise 1"
            )
        input = SystemPatchInput(
            target_clusters=[name.strip() for name in arguments.clusters.split(",")],
            pilot_count=arguments.pilot_count,
            vault=VaultReference(address="https://vault.example.com:8200", secret_path_prefix="ssh/hosts"),
            approval_timeout_seconds=arguments.approval_timeout,
        )
    except (VersionError, ApplicationError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    return ClientFlags(
        version=version,
        input=input,
        answer=None if arguments.no_answer else ApprovalAnswer(not arguments.reject, approver="the client"),
        by_signal=arguments.signal,
        attach=arguments.attach,
        poll_interval=arguments.poll_interval,
    )
