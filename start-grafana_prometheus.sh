#!/bin/sh
# Starts Prometheus and Grafana in containers, for exercise 7. Both listen on this machine only.
#   ./start-grafana_prometheus.sh          start them, and wait until the dashboard answers
#   ./start-grafana_prometheus.sh stop     stop and remove them, with all that they have recorded
# Exit codes: 0 done, 2 it can't be done, and a line says why.
set -u
cd "$(dirname "$0")" || exit 2

fail() {
    echo "$1" >&2
    exit 2
}

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
case "${1:-start}" in
    start | stop) command=${1:-start} ;;
    *) fail "usage: ./start-grafana_prometheus.sh [stop]" ;;
esac

command -v docker >/dev/null || fail "There is no docker here. Get it (https://docs.docker.com/get-docker/), or go on without: temporal_client_v8.py prints the same figures as a table."
docker compose version >/dev/null 2>&1 || fail "Docker has no compose command. Get it: https://docs.docker.com/compose/install/"
system=$(docker info --format '{{.OperatingSystem}}' 2>/dev/null) && [ -n "$system" ] ||
    fail "The Docker engine does not answer. Start Docker Desktop, or on Linux: sudo systemctl start docker (and may you use it? sudo usermod -aG docker \$USER)"

# An engine in a virtual machine has another network than the workers. Under WSL, uname says Linux for both kinds.
file=grafana/compose.linux.yml
case "$system $(uname)" in
    *"Docker Desktop"* | *Darwin) file=grafana/compose.desktop.yml ;;
esac

if [ "$command" = stop ]; then
    docker compose --file "$file" down --volumes || fail "Docker could not stop them: see above."
    echo "Prometheus and Grafana are stopped."
    exit 0
fi

# Ports that other programs hold. Those that are ours already may stay as they are.
if [ -z "$(docker compose --file "$file" ps --quiet 2>/dev/null)" ]; then
    "$python" -m support.ports 9090 3000 || exit 2
fi

docker compose --file "$file" up --detach || fail "Docker could not start them: see above."
"$python" -m support.web http://127.0.0.1:9090/-/ready http://127.0.0.1:3000/api/health || exit 2
echo "Dashboard:  http://127.0.0.1:3000"
echo "Prometheus: http://127.0.0.1:9090"
echo "Stop both:  ./start-grafana_prometheus.sh stop"
