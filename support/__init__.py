"""What all scripts need, and no learner has to read. One job a module:

connection     connect to the server that the environment names; the Web UI's address of a run
quick_sandbox  spare workers a detour of the SDK's
strict_input   refuse input of the wrong shape at once, where the SDK would try it for ever
script         run a script and end its process: exit codes, Ctrl-C, errors in one line
flags          readers of values on the command line
client_flags   the command line of a client; worker_flags that of a worker
reload         start a worker anew when its code is saved
logs           short lines in the log
pid_lock       which process is a version's worker
client         what a client says of workers that are missing, and of a workflow's end
failing_tasks  workflow tasks that fail again and again
histories      what event histories say
metrics, load  exercise 7: what workers tell of themselves, and what there is for them to do
processes      start other programs, and read what they print
ports, web     free ports, pages that answer
forward        open a port of this machine to others
terminal       colors
temporal_cli   get the program that is the server
dev_server     how the server is set up; a server of one's own
kit            set up from an archive, without a network
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent

# Until `support.script` sees to Ctrl-C, it simply ends a script, as SIGTERM does. Python's own way would be a
# traceback, or nothing at all where it comes at a moment in which Python can't raise an exception. This must be in
# place before the SDK is imported, which takes most of a script's first second: so all files import our own modules
# first (see pyproject.toml).
if Path(getattr(sys.modules["__main__"], "__file__", None) or os.devnull).absolute().parent == PROJECT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A stream may have been closed by whoever started the script, or may not know all letters.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115
    for _name in ("stdout", "stderr"):
        _stream = getattr(sys, _name) or open(os.devnull, "w")  # noqa: SIM115
        _stream.reconfigure(errors="backslashreplace")
        setattr(sys, _name, _stream)
    # The sandbox loads a workflow's file anew for each run, and would compile it each time where Python may not keep
    # what it has compiled (PYTHONDONTWRITEBYTECODE, which is set in many containers).
    sys.dont_write_bytecode = False
    for _package in ("temporalio", "psutil", "rich", "watchfiles"):
        if importlib.util.find_spec(_package) is None:
            _ready = PROJECT / ".venv" / "ready"
            sys.exit(
                f"The package {_package} is missing in this Python, {sys.executable}. "
                + (
                    "This folder was moved since its environment was made. Make that anew: make demo"
                    if _ready.exists() and _ready.read_text().strip() != str(PROJECT)
                    else "Once `make demo` has installed everything, in each terminal: source .venv/bin/activate"
                )
            )
