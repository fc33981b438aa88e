"""Debian's Prometheus, for the tests of the dashboard:  python -m tests.prometheus gets it where it is missing."""

from support import PROJECT
from support.processes import Process
from support.web import read_page

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CACHE = PROJECT / ".cache" / "prometheus"
MISSING = "There is no Prometheus on PATH: `make test` gets it on Debian and Ubuntu, `brew install prometheus` on macOS"


def find(program: str) -> str | None:
    """Return the path of `prometheus` or `promtool`, or None."""
    return shutil.which(program) or shutil.which(program, path=str(CACHE / "usr" / "bin"))


def get() -> None:
    """Download Debian's package and unpack it into .cache, unless there is a Prometheus or this is no Debian.

    It is not installed: the package would start a service on port 9090, where exercise 7 has its own Prometheus.
    """
    if find("prometheus") or not shutil.which("apt-get"):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", "-qq", "prometheus"]
    print("Getting Prometheus for the tests of the dashboard (once, 20 MB) ...", flush=True)
    if subprocess.run(download, cwd=CACHE, stderr=subprocess.DEVNULL).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"])  # A new machine has no list of packages yet.
        subprocess.run(download, cwd=CACHE)
    for package in CACHE.glob("*.deb"):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(CACHE)])
        package.unlink()


class Prometheus:
    """A Prometheus that runs, and what it answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        """Return the result of a query, as Prometheus gives it. Raises `HTTPError` if the query is wrong."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        result: list[dict[str, Any]] = json.loads(read_page(url, timeout=60))["data"]["result"]
        return result

    def value(self, query: str, at: float) -> float:
        """Return the only value of a query at a time, in seconds since 1970."""
        [series] = self.ask("query", query=query, time=at)
        return float(series["value"][1])

    def wait_for(self, query: str, expected: float) -> float:
        """Wait until the only value of a query is this or more. Returns when that was, in seconds since 1970."""
        while True:
            now = time.time()
            if any(float(series["value"][1]) >= expected for series in self.ask("query", query=query, time=now)):
                return now
            time.sleep(0.1)


@contextmanager
def running(folder: Path, port: int, targets: list[str]) -> Iterator[Prometheus]:
    """Run Prometheus on this port of this machine, with the project's configuration but for where the workers are."""
    shutil.copy(PROJECT / "grafana" / "prometheus.yml", folder)
    (folder / "targets.yml").write_text(json.dumps([{"targets": targets}]))  # JSON is YAML too.
    program = find("prometheus")
    assert program is not None
    process = Process(
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    try:
        prometheus = Prometheus(port)
        while True:
            assert not process.is_over.is_set(), process.text()
            try:
                prometheus.ask("query", query="up")
                break
            except OSError:
                time.sleep(0.1)
        yield prometheus
    finally:
        process.kill()


if __name__ == "__main__":
    get()
    print(f"Prometheus: {find('prometheus') or MISSING}")
    sys.exit(1 if find("prometheus") is None and os.environ.get("CI") == "true" else 0)
