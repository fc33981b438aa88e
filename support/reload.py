"""A worker that is started anew whenever its code is saved: `temporal_worker.py --reload`."""

from support import PROJECT
from support.processes import Process
from support.script import stop_event

from pathlib import Path

import watchfiles

CODE = PROJECT / "workflow"
PAUSE = 200  # Milliseconds without a change, after which what was saved is loaded.


async def run_anew_when_saved(command: list[str]) -> int:
    """Run a worker by this command, and start it anew whenever a file in `workflow/` is saved. Returns its exit code.

    It is stopped as by Ctrl-C: what its activities do is done, or handed back, first. If it ends by itself, the next
    saved file starts it again. Ends when somebody stops this process.
    """
    stop = stop_event()
    worker = Process(*command, folder=Path.cwd(), show=True)
    try:
        async for changes in watchfiles.awatch(
            CODE, watch_filter=watchfiles.PythonFilter(), step=PAUSE, stop_event=stop
        ):
            saved = ", ".join(sorted({Path(path).name for _, path in changes}))
            print(f"Saved: {saved}. The worker starts anew.", flush=True)
            await worker.stop()
            worker = Process(*command, folder=Path.cwd(), show=True)
        return await worker.stop()
    finally:
        worker.kill()
