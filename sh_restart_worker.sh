#!/bin/sh
# Crashes the worker of a version with kill -9, as a power cut would, and starts it again in the foreground.
#   ./sh_restart_worker.sh v4             whatever follows the version goes to the new worker: ./sh_restart_worker.sh v4 --pace 0.5
set -u
cd "$(dirname "$0")" || exit 1

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
version=${1:-v1}
[ $# -gt 0 ] && shift

# The process id of the worker that is alive, or nothing. The worker holds a lock on its pid file: see support/pid_lock.py.
pid=$("$python" -m support.pid_lock "$version") || exit 2

if [ -n "$pid" ]; then
    kill -9 "$pid" && echo "Worker of $version crashed: kill -9 $pid."
else
    echo "No worker of $version is running."
fi

echo "Starting a worker of $version."
exec "$python" temporal_worker.py "$version" "$@"
