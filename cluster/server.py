"""The Temporal server: built, and run as the four processes that it has in production."""

from cluster.parts import Part
from cluster.postgres import USER, Postgres
from support.dev_server import KEEP_ALIVE
from support.ports import THIS_MACHINE, free_port, port_is_taken
from support.processes import run_command
from support.temporal_cli import CACHE, build

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

SERVER_VERSION = "1.32.0"  # The one that go.mod of the build requires, and that the Temporal CLI is made of.
SERVER_PROGRAM = "go.temporal.io/server/cmd/server"
SQL_PROGRAM = "go.temporal.io/server/cmd/tools/sql"
BUILT = CACHE / "built" / f"server-{SERVER_VERSION}"
SERVICES = ("frontend", "history", "matching", "worker")
SHARDS = 4  # As in the server's own example of a configuration with PostgreSQL.
DATABASES = {"temporal": "postgresql/v12/temporal", "temporal_visibility": "postgresql/v12/visibility"}
"""The databases, and the server's names of their schemas."""
RETENTION = 24 * 3600  # Seconds.


@dataclass(frozen=True)
class Ports:
    """The ports of one of the server's four services."""

    grpc: int = field(default_factory=free_port)
    membership: int = field(default_factory=free_port)


def part_name(service: str) -> str:
    """Return what a service is called here: `worker`, which runs the server's own workflows, is not one of ours."""
    return "system-worker" if service == "worker" else service


async def find_server() -> Path:
    """Return the folder of the server's programs, built if they are not there. Raises `UserError` if that fails."""
    if not BUILT.exists():
        BUILT.parent.mkdir(parents=True, exist_ok=True)
        await build(f"the Temporal server {SERVER_VERSION}", BUILT, SERVER_PROGRAM, SQL_PROGRAM, into_folder=True)
    return BUILT


async def make_schemas(programs: Path, database: Postgres) -> None:
    """Make the server's two databases and their tables, by the server's own tool. Raises `UserError` if that fails."""
    for name, schema in DATABASES.items():
        tool = [str(programs / "sql"), "--plugin", "postgres12", "--endpoint", THIS_MACHINE, "--user", USER]
        tool += ["--port", str(database.port), "--database", name]
        for step in (["create"], ["setup-schema", "--version", "0.0"], ["update-schema", "--schema-name", schema]):
            await run_command([*tool, *step], {"SQL_PASSWORD": database.password})


def server_config(ports: dict[str, Ports], database: Postgres, dynamic_config: Path) -> dict[str, Any]:
    """Return the configuration that all four share: each finds its own ports, and those of the others, in it."""
    stores = {
        name: {
            "sql": {
                "pluginName": "postgres12",
                "databaseName": name,
                "connectAddr": f"{THIS_MACHINE}:{database.port}",
                "connectProtocol": "tcp",
                "user": USER,
                "password": database.password,
                "maxConns": 20,
                "maxIdleConns": 20,
                "maxConnLifetime": "1h",
            }
        }
        for name in DATABASES
    }
    default, visibility = DATABASES
    this_cluster = {
        "enabled": True,
        "initialFailoverVersion": 1,
        "rpcName": "frontend",
        "rpcAddress": f"{THIS_MACHINE}:{ports['frontend'].grpc}",
    }
    return {
        "log": {"stdout": True, "level": "warn"},
        "persistence": {
            "defaultStore": default,
            "visibilityStore": visibility,
            "numHistoryShards": SHARDS,
            "datastores": stores,
        },
        "global": {"membership": {"maxJoinDuration": "30s", "broadcastAddress": THIS_MACHINE}},
        "services": {
            service: {
                "rpc": {"grpcPort": own.grpc, "membershipPort": own.membership, "bindOnLocalHost": True},
            }
            for service, own in ports.items()
        },
        "clusterMetadata": {
            "enableGlobalNamespace": False,
            "failoverVersionIncrement": 10,
            "masterClusterName": "active",
            "currentClusterName": "active",
            "clusterInformation": {"active": this_cluster},
        },
        "dcRedirectionPolicy": {"policy": "noop"},
        "dynamicConfigClient": {"filepath": str(dynamic_config), "pollInterval": "60s"},
    }


def run_server(programs: Path, folder: Path, logs: Path, database: Postgres) -> tuple[list[Part], int]:
    """Start the four. Their configuration goes into `folder`, what they print into `logs`.

    Returns them, and the port of the frontend.
    """
    ports = {service: Ports() for service in SERVICES}
    dynamic = folder / "dynamic.yaml"
    # All YAML that is needed is JSON.
    dynamic.write_text(json.dumps({name: [{"value": value}] for name, value in KEEP_ALIVE.items()}))
    config = folder / "config.yaml"
    config.touch(mode=0o600)  # It has the password.
    config.write_text(json.dumps(server_config(ports, database, dynamic), indent=2))
    command = [str(programs / "server"), "--config-file", str(config), "--allow-no-auth", "start", "--service"]

    def part(service: str) -> Part:
        async def listens(_: Part) -> bool:
            return port_is_taken(ports[service].grpc)

        return Part(part_name(service), [*command, service], listens, folder=folder, log=logs / part_name(service))

    return [part(service) for service in SERVICES], ports["frontend"].grpc


async def add_namespace(address: str, name: str = "default") -> None:
    """Add a namespace, as soon as a server answers at this address, and wait until all its parts know it."""
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=RETENTION))
    while True:
        try:
            client = await Client.connect(address)
            await client.workflow_service.register_namespace(request)
            break
        except (RPCError, RuntimeError):
            await asyncio.sleep(0.2)
    while True:
        try:
            await client.count_workflows()
            # Through all parts: a start, and its end.
            handle = await client.start_workflow("Nothing", id="first", task_queue="nobody")
            await handle.terminate()
            return
        except RPCError:
            await asyncio.sleep(0.2)
