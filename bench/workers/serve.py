"""A worker's half of the bench: commands as lines of JSON on stdin, answers on the stdout that it was started with."""

import json
import os
import sys
import traceback
from collections.abc import Callable


def serve(commands: dict[str, Callable]) -> None:
    """Answers until stdin ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps({"ok": "ready"}), file=answers, flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"ok": commands[name](**arguments)}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
