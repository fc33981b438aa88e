"""The dev container: it has what the pages need, and keeps to the form of devcontainer.json."""

from support import PROJECT

import json
import re
import subprocess
import sys
from pathlib import Path

FILE = PROJECT / ".devcontainer" / "devcontainer.json"
CONTAINER = json.loads(FILE.read_text())

# What https://containers.dev/implementors/json_schema/ says of the properties that are used here. Others would be
# passed over there in silence, if they are misspelled.
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
PORT = {"type": "object", "properties": {"label": {"type": "string"}}, "additionalProperties": False}
SCHEMA = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "image": {"type": "string"},
        "features": {"type": "object", "additionalProperties": {"type": "object"}},
        "onCreateCommand": {"type": "string"},
        "remoteEnv": TEXTS,
        "forwardPorts": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 65535}},
        "portsAttributes": {"type": "object", "patternProperties": {r"^\d+$": PORT}, "additionalProperties": False},
    },
}


def test_it_keeps_to_the_schema(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_each_port_that_is_forwarded_has_a_label() -> None:
    assert CONTAINER["forwardPorts"] == [8233, 7233, 3000, 9090]
    assert [int(port) for port in CONTAINER["portsAttributes"]] == CONTAINER["forwardPorts"]
    assert all(attributes["label"] for attributes in CONTAINER["portsAttributes"].values())


def test_it_makes_the_environment_by_what_is_there() -> None:
    target, script, flag = re.findall(r"make (\S+) && \.venv/bin/python (\S+) (\S+)", CONTAINER["onCreateCommand"])[0]
    assert f"\n{target}: " in (PROJECT / "Makefile").read_text()
    assert f'"{flag}"' in (PROJECT / script).read_text()


def test_it_has_docker_for_exercise_7() -> None:
    assert [name.rpartition("/")[2] for name in CONTAINER["features"]] == ["docker-in-docker:2"]
    # That takes its packages from a list that has none for Debian 13.
    assert CONTAINER["image"].endswith("-bookworm")
