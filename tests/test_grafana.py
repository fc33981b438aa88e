"""Exercise 7: the files that Docker, Prometheus and Grafana read, and the script that starts those. Without Docker."""

from support import PROJECT
from support.metrics import METRICS_PORTS
from tests import prometheus
from tests.conftest import Run

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

GRAFANA = PROJECT / "grafana"
DASHBOARD = json.loads((GRAFANA / "dashboards" / "workers.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SYSTEMS = ["desktop", "linux"]


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def compose(system: str) -> Any:
    return read(GRAFANA / f"compose.{system}.yml")


def test_the_compose_files_keep_to_the_compose_schema() -> None:
    files = [str(GRAFANA / f"compose.{system}.yml") for system in SYSTEMS]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_nothing_listens_anywhere_but_on_this_machine() -> None:
    for service in compose("desktop")["services"].values():
        assert "network_mode" not in service
        assert [port.rpartition(":")[0] for port in service["ports"]] in (["127.0.0.1:9090"], ["127.0.0.1:3000"])
    services = compose("linux")["services"]
    assert all(service["network_mode"] == "host" and "ports" not in service for service in services.values())
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize("system", SYSTEMS)
def test_everybody_may_look_nobody_may_change_and_there_is_no_password(system: str) -> None:
    settings = compose(system)["services"]["grafana"]["environment"]
    assert settings["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert settings["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert settings["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert settings["GF_AUTH_BASIC_ENABLED"] == "false"
    assert not [name for name in settings if "PASSWORD" in name]


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_file_that_a_container_reads_is_there(system: str) -> None:
    places = {}
    for service in compose(system)["services"].values():
        for volume in service["volumes"]:
            source, target, mode = volume.split(":")
            assert (GRAFANA / source).exists() and mode == "ro"
            places[target] = GRAFANA / source
    assert places["/etc/prometheus/targets.yml"] == GRAFANA / f"targets.{system}.yml"
    home = compose(system)["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (places["/etc/grafana/dashboards"] / Path(home).name).exists()
    [provider] = read(GRAFANA / "provisioning" / "dashboards" / "workshop.yml")["providers"]
    assert provider["options"]["path"] == str(Path(home).parent) and provider["allowUiUpdates"] is False


def test_both_systems_run_the_same_versions() -> None:
    desktop, linux = [compose(system)["services"] for system in SYSTEMS]
    for name in ("prometheus", "grafana"):
        assert desktop[name]["image"] == linux[name]["image"]
        assert re.fullmatch(r"(prom|grafana)/\w+:v?\d+\.\d+\.\d+", desktop[name]["image"])


@pytest.mark.parametrize("system", SYSTEMS)
def test_prometheus_takes_its_configuration_and_looks_where_workers_offer_metrics(system: str, tmp_path: Path) -> None:
    if (promtool := prometheus.find("promtool")) is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(prometheus.MISSING)
    shutil.copy(GRAFANA / "prometheus.yml", tmp_path)
    shutil.copy(GRAFANA / f"targets.{system}.yml", tmp_path / "targets.yml")
    checked = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True
    )
    assert checked.returncode == 0 and "WARNING" not in checked.stdout, checked.stdout + checked.stderr
    [group] = read(GRAFANA / f"targets.{system}.yml")
    host = {"desktop": "host.docker.internal", "linux": "127.0.0.1"}[system]
    assert group["targets"] == [f"{host}:{port}" for port in METRICS_PORTS]


def test_all_panels_ask_the_datasource_that_is_provisioned() -> None:
    [source] = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    interval = read(GRAFANA / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval == "2s"
    assert source["url"] == "$PROMETHEUS_URL"
    assert all("PROMETHEUS_URL" in compose(system)["services"]["grafana"]["environment"] for system in SYSTEMS)
    expected = {"type": "prometheus", "uid": source["uid"]}
    for panel in PANELS:
        assert panel["datasource"] == expected
        assert all(target["datasource"] == expected for target in panel["targets"])


def test_the_dashboard_is_one_that_grafana_takes_from_a_file() -> None:
    """The classic model: version 2 of it, which newer ones export, has `elements` and `layout` instead."""
    assert {"uid", "title", "panels", "time", "refresh"} <= DASHBOARD.keys()
    # Of the classic model, the one that Grafana 13 has (https://www.npmjs.com/package/@grafana/schema, 13.2.3). The new
    # model can't be the home dashboard (https://github.com/grafana/grafana/issues/122663).
    assert DASHBOARD["schemaVersion"] == 42
    assert not {"elements", "layout", "spec", "kind"} & DASHBOARD.keys()
    assert not DASHBOARD["editable"] and "id" not in DASHBOARD


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (column, line)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for column in range(place["x"], place["x"] + place["w"])
        for line in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(0 <= column < 24 for column, _ in cells)
    order = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in DASHBOARD["panels"]]
    assert order == sorted(order)


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_each_panel_says_what_to_look_for(panel: dict[str, Any]) -> None:
    assert len(panel["description"]) > 40 and panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        # Prometheus 2 writes the bucket le="100", Prometheus 3 le="100.0".
        assert not re.search(r"\ble\s*(=|!)", target["expr"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


DOCKER = """#!/bin/sh
echo "$@" >> "$DOCKER_LOG"
case "$*" in
    "compose version") exit "${NO_COMPOSE:-0}" ;;
    info*) echo "$SYSTEM"; [ -n "$SYSTEM" ] ;;
    *"ps --quiet") echo "$RUNNING" ;;
    *up*|*down*) exit "${FAILS:-0}" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path) -> dict[str, str]:
    """An environment with a `docker` that does nothing but write down what it was told."""
    program = tmp_path / "docker"
    program.write_text(DOCKER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "DOCKER_LOG": str(tmp_path / "log"), "SYSTEM": "Debian GNU/Linux 12", "RUNNING": ""}


def told(docker: dict[str, str]) -> str:
    return Path(docker["DOCKER_LOG"]).read_text()


@pytest.fixture
def containers() -> Iterator[None]:
    """Something that answers where Prometheus and Grafana would, unless they, or others, do."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    servers = []
    for port in (9090, 3000):
        try:
            servers.append(ThreadingHTTPServer(("127.0.0.1", port), Answer))
        except OSError:
            continue
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
    yield
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SYSTEM": ""}, "The Docker engine does not answer."),
        ({"NO_COMPOSE": "1"}, "Docker has no compose command."),
    ],
    ids=["engine not running", "no compose"],
)
@pytest.mark.parametrize("arguments", [[], ["stop"]], ids=["start", "stop"])
def test_without_a_docker_that_works_the_script_says_what_is_missing(
    run: Run, docker: dict[str, str], settings: dict[str, str], message: str, arguments: list[str]
) -> None:
    code, output = run("./start-grafana_prometheus.sh", *arguments, **docker | settings).end()
    assert code == 2 and output.startswith(message) and len(output.splitlines()) == 1


def test_without_docker_the_script_says_how_to_go_on(run: Run, tmp_path: Path) -> None:
    for program in ("dirname", "sh"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    code, output = run("./start-grafana_prometheus.sh", PATH=str(tmp_path)).end()
    assert code == 2 and output.startswith("There is no docker here.") and len(output.splitlines()) == 1


def test_a_taken_port_gives_one_clear_line_and_nothing_is_started(
    run: Run, docker: dict[str, str], containers: None
) -> None:
    code, output = run("./start-grafana_prometheus.sh", **docker).end()
    assert (code, output) == (2, "Port 9090 is taken by another program: stop that one first.")
    assert " up " not in told(docker)


@pytest.mark.parametrize(
    ("system", "file"),
    [
        ("Docker Desktop", "compose.desktop.yml"),
        pytest.param(
            "Debian GNU/Linux 12",
            "compose.linux.yml",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="On macOS every engine is in a virtual machine."),
        ),
    ],
)
def test_the_script_starts_what_fits_the_engine_says_where_and_stops_it(
    run: Run, docker: dict[str, str], containers: None, system: str, file: str
) -> None:
    """That some containers run already, which are its own, is no reason not to start."""
    settings = docker | {"SYSTEM": system, "RUNNING": "0123456789ab"}
    code, output = run("./start-grafana_prometheus.sh", **settings).end()
    assert code == 0 and "Dashboard:  http://127.0.0.1:3000" in output
    assert f"compose --file grafana/{file} up --detach" in told(docker)
    code, output = run("./start-grafana_prometheus.sh", "stop", **settings).end()
    assert (code, output) == (0, "Prometheus and Grafana are stopped.")
    assert f"compose --file grafana/{file} down" in told(docker)


def test_when_docker_fails_so_does_the_script(run: Run, docker: dict[str, str]) -> None:
    for arguments in ([], ["stop"]):
        settings = docker | {"RUNNING": "0123456789ab", "FAILS": "1"}
        assert run("./start-grafana_prometheus.sh", *arguments, **settings).end()[0] == 2


def test_the_script_explains_its_use(run: Run) -> None:
    assert run("./start-grafana_prometheus.sh", "restart").end() == (2, "usage: ./start-grafana_prometheus.sh [stop]")


def test_where_many_share_a_machine_a_learner_can_look_at_a_task_queue_only() -> None:
    [variable] = DASHBOARD["templating"]["list"]
    assert variable["name"] == "task_queue" and variable["current"]["value"] == "$__all"
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    # These are about a whole process, and have no label of a task queue.
    without = re.compile(r"temporal_(request|request_failure|long_request_failure)\b|^sum\(up")
    assert all(("$task_queue" in query) != bool(without.search(query)) for query in asked)
