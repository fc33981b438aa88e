"""Real processes are killed and cut off at random moments, and no run loses anything by it. See faults.py.

A short, seeded set. `make soak` tries hundreds.
"""

from support.script import UserError
from tests.faults import CASE_TIMEOUT, FAULTS, Outcome, find_toxiproxy, try_faults
from workflow.versions import released_versions

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

SEED = 6
VERSIONS = released_versions()


@pytest.fixture(scope="module")
async def outcomes() -> dict[tuple[str, str], Outcome]:
    """Two or three faults side by side: most of the time goes into waiting for timeouts. More at once would be too
    much for a small machine, whose workers then send their heartbeats late, without any fault."""
    found: list[list[Outcome]] = []
    with tempfile.TemporaryDirectory() as folder:
        for faults in (list(FAULTS)[:2], list(FAULTS)[2:]):
            tried = [try_faults(Path(folder, fault), fault, VERSIONS, SEED, quick=True) for fault in faults]
            found += await asyncio.gather(*tried)
    return {(outcome.fault, outcome.version): outcome for group in found for outcome in group}


@pytest.mark.timeout(2 * CASE_TIMEOUT + 60)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_run_ends_as_without_faults_and_does_each_step_once(
    outcomes: dict[tuple[str, str], Outcome], fault: str, version: str
) -> None:
    if fault == "network cut" and not os.environ.get("CI"):
        try:
            await find_toxiproxy()
        except UserError as error:
            pytest.skip(str(error))
    outcome = outcomes[fault, version]
    assert not outcome.problems, "\n".join(outcome.problems)
