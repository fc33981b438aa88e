#!/bin/sh
# Crashes the worker of a version with kill -9, as a power cut would, and starts it again in the foreground.
#   ./sh_restart_worker.sh v4             whatever follows the version goes to the new worker: ./sh_restart_worker.sh v4 --pace 0.5
set -u
cd "$(dirname "$0")" || exit 1

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
version=${1:-v1}
[ $# -gt 0 ] && shift

# The process ids of the workers that are alive, mostly one. Each holds a lock on its pid file: see support/pid_lock.py.
pids=$("$python" -m support.pid_lock "$version") || exit 2

for pid in $pids; do
    kill -9 "$pid" && echo "Worker of $version crashed: kill -9 $pid."
done
[ -n "$pids" ] || echo "No worker of $version is running."

echo "Starting a worker of $version."
exec "$python" temporal_worker.py "$version" "$@"
