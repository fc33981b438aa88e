"""The connection to a Temporal server, from the environment or from the Temporal CLI's configuration file."""

from support.logs import short_logging_runtime
from support.quick_sandbox import quick_sandbox
from support.script import UserError, within
from support.strict_input import RightArguments, strict_data_converter

import asyncio
import os
import re
import socket
from typing import Any
from urllib.parse import quote

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

# Seconds.
CONNECT_TIMEOUT = 10.0
REACH_TIMEOUT = 3.0
DEFAULT_ADDRESS = "localhost:7233"  # Where temporal_server.py listens.
NO_TLS = (
    "TLS or an API key is set, in TEMPORAL_TLS, TEMPORAL_TLS_..., TEMPORAL_API_KEY or your Temporal configuration "
    "file. A development server on this machine has neither: unset them, or choose another TEMPORAL_PROFILE."
)
ADDRESS = re.compile(r"([^\s/:\[\]]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")  # A name or IPv4, or an IPv6 address.


# A run that is paused has a status that version 1.35 of the SDK does not know: it raises a `ValueError` wherever it
# meets one. To all that asks here, such a run is one that has not ended.
WorkflowExecutionStatus._missing_ = classmethod(lambda cls, status: cls.RUNNING)  # type: ignore[assignment]


def connect_config() -> dict[str, Any]:
    """Return what to connect with: from TEMPORAL_ADDRESS and the other variables, or from the CLI's configuration file.

    With nothing set, the development server on this machine. Raises `UserError` if the configuration can't be read, or
    if the server's address is none.
    """
    # An empty TEMPORAL_API_KEY or TEMPORAL_TLS would turn TLS on.
    variables = {key: value for key, value in os.environ.items() if value or not key.startswith("TEMPORAL_")}
    try:
        config: dict[str, Any] = {**ClientConfig.load_client_connect_config(override_env_vars=variables)}
    except Exception as error:
        # The lines after the first may quote the file, and with it an API key.
        problem = str(error).partition("\n")[0]
        raise UserError(f"The configuration of the connection to Temporal can't be read: {problem}") from None
    address = config.setdefault("target_host", DEFAULT_ADDRESS)
    if not is_address(address):
        raise UserError(
            f"The server's address is {address!r:.200}, in TEMPORAL_ADDRESS or in your Temporal configuration file. It "
            "must be a host and a port, such as localhost:7233."
        )
    return config


async def connect(runtime: Runtime | None = None) -> Client:
    """Return a client that is connected, by way of `runtime` if given.

    Raises `UserError` where no server answers within ten seconds, or where it has not the namespace, and `RPCError` if
    it stops answering meanwhile.
    """
    config = connect_config()
    try:
        connecting = Client.connect(
            **config,
            data_converter=strict_data_converter(),
            interceptors=[RightArguments()],
            plugins=[quick_sandbox()],
            runtime=runtime or short_logging_runtime(),
        )
        client = await within(CONNECT_TIMEOUT, connecting)
    except (RuntimeError, ValueError, asyncio.TimeoutError) as error:
        address = config["target_host"]
        if asks_for_tls(config) and is_local(address):
            raise UserError(f"No server with TLS answers at {address}. {NO_TLS}") from error
        if address == DEFAULT_ADDRESS:
            problem = "Start one in another terminal: python temporal_server.py"
        else:
            reason = await asyncio.to_thread(why_no_connection, address) or str(error).partition(": tonic")[0]
            problem = f"TEMPORAL_ADDRESS or your Temporal configuration file names it: is it right? {reason}"
        raise UserError(f"No Temporal server answers at {address}. {problem}") from error
    try:
        await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    except RPCError as error:
        # Whoever may patch a rollout need not have the right to ask for this.
        if error.status is RPCStatusCode.NOT_FOUND:
            raise UserError(
                f"The server at {config['target_host']} has no namespace {client.namespace!r:.100}, which "
                "TEMPORAL_NAMESPACE or your Temporal configuration file names. A development server has `default`."
            ) from error
        if error.status is RPCStatusCode.UNAVAILABLE:
            raise
    return client


def is_address(text: str) -> bool:
    """Return whether a text is a host and a port, as `localhost:7233` is."""
    found = ADDRESS.fullmatch(text)
    return found is not None and 1 <= int(found["port"]) <= 65535


def why_no_connection(address: str) -> str:
    """Return in words why there is no connection to this host and port, or nothing if there is one."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_TIMEOUT):
            return ""
    except (socket.gaierror, UnicodeError):  # The latter: it can't even be a name.
        return f"No machine is known by the name {host}."
    except ConnectionRefusedError:
        return f"The machine {host} answers, but nothing listens at its port {port}."
    except TimeoutError:
        return f"The machine {host} does not answer at port {port}: it is another network, or a firewall is between."
    except OSError as error:
        return f"{host}: {error.strerror or error}."


def asks_for_tls(config: dict[str, Any]) -> bool:
    """Return whether a connection is to be encrypted."""
    return bool(config.get("tls") or config.get("api_key"))


def is_local(address: str) -> bool:
    """Return whether a server's address is on this machine."""
    return address.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]")


def web_ui_link(connected: Client, workflow_id: str, run_id: str | None) -> str:
    """Return the address of a run in the Web UI.

    TEMPORAL_UI_URL says where the Web UI is. Without it: Temporal Cloud's for a server there, else the server's own
    host on the gRPC port plus 1000, which is where the development server has it.
    """
    host, _, port = connected.service_client.config.target_host.rpartition(":")
    if "TEMPORAL_UI_URL" in os.environ:
        base = os.environ["TEMPORAL_UI_URL"].rstrip("/")
    elif host.endswith((".tmprl.cloud", ".temporal.io")):
        base = "https://cloud.temporal.io"
    else:
        base = f"http://{host}:{int(port) + 1000}"
    run = f"/{run_id}" if run_id else ""
    return f"{base}/namespaces/{quote(connected.namespace)}/workflows/{quote(workflow_id, safe='')}{run}"
