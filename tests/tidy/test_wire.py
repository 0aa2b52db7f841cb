"""The wires as they were agreed: a change of a message is a line in the diff of wire.lock.json.

After a change that is meant: `UPDATE=1 pytest tests/tidy/test_wire.py`; raise WIRE_VERSION if an older peer would misread.
"""

import dataclasses
import json
import os
import re
from pathlib import Path

from ingle.runner import wire as runner_wire
from ingle.wire import api, node, version

LOCK = Path(__file__).with_name("wire.lock.json")


def described() -> dict:
    wires = {}
    for name, module in (("api", api), ("node", node)):
        types = {t.__name__: t for t in vars(module).values() if dataclasses.is_dataclass(t) and t.__module__ == module.__name__}
        wires[name] = {
            type_name: {f.name: re.sub(r"<class '(\w+\.)*(\w+)'>", r"\2", str(f.type)) for f in dataclasses.fields(t)}
            for type_name, t in sorted(types.items())
        }
    wires["runner"] = {
        name: [part.decode() for part in value] if isinstance(value, tuple) else value.decode()
        for name, value in sorted(vars(runner_wire).items())
        if name.isupper() and (isinstance(value, bytes) or (isinstance(value, tuple) and name == "SETUP_KEYS"))
    }
    wires["routes"] = [f"{method} {path}" for method, path in api.ROUTES]
    return {"version": version.WIRE_VERSION, **wires}


def test_the_wires_are_as_agreed():
    now = described()
    if os.environ.get("UPDATE"):
        LOCK.write_text(json.dumps(now, indent=1) + "\n")
    agreed = json.loads(LOCK.read_text())
    assert now == agreed, f"a wire has changed: {__doc__}"


def test_every_message_is_in_its_codec():
    for module in (api, node):
        known = set(module.CODEC._types)
        unused = {"SourceFile", "PutSource", "SourceState", "CreateApp", "CreatedApp", "ServerStatus", "LogLine", "ContainerReport"}
        messages = {n for n, t in vars(module).items() if dataclasses.is_dataclass(t) and t.__module__ == module.__name__}
        assert messages - unused <= known, f"{module.__name__}: not in CODEC: {sorted(messages - unused - known)}"
