#!/bin/sh
# Crashes the worker of a version with kill -9, as a power cut would, and starts it again in the foreground.
#   ./sh_restart_worker.sh v4             whatever follows the version goes to the new worker: ./sh_restart_worker.sh v4 --pace 0.5
set -u
cd "$(dirname "$0")" || exit 1

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
version=${1:-v1}
[ $# -gt 0 ] && shift

# Ask the project which version is meant, since v4, V4 and SystemPatchWorkflow_V4 are the same.
file=$("$python" - "$version" <<'PYTHON'
import sys
from temporal_worker import pid_file
from workflow import VersionError, find_version
try:
    print(pid_file(find_version(sys.argv[1])))
except VersionError as error:
    sys.exit(str(error))
PYTHON
) || exit 2

if [ -f "$file" ]; then
    pid=$(sed -n 1p "$file")
    # The same process, not a later one that got the same id: start time and command must still be the same.
    running=$(LC_ALL=C ps -p "$pid" -o lstart= -o command= | sed 's/^ *//; s/ *$//')
    if [ -n "$running" ] && [ "$running" = "$(sed -n 2p "$file")" ]; then
        kill -9 "$pid" && echo "Worker of $version crashed: kill -9 $pid."
    else
        echo "No worker of $version is running (the one with process id $pid is gone)."
    fi
    rm -f "$file"
else
    echo "No worker of $version is running."
fi

echo "Starting a worker of $version."
exec "$python" temporal_worker.py "$version" "$@"
