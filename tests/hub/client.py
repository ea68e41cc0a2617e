"""The real client of huggingface_hub, behind zoo's, in a process of its own that talks to the test's server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.hub.server import TOKEN

# The endpoint is read when huggingface_hub is imported, so the client lives in a process of its own: a call per line.
CLIENT = """
import json, sys, warnings
from click.testing import CliRunner
from zoo.cli import main
from zoo.errors import ZooError, ZooWarning
from zoo.hub import place as hub
from zoo.hub import client as hub_client

hub_client.PAUSES = (0, 0)

def zoo(*words, **environment):
    done = CliRunner().invoke(main, words, env=environment)
    return [done.exit_code, done.stdout, done.stderr]

def python(code, **known):
    exec(code, known)
    return known["found"]

def locate(*args, **options):
    place = hub.locate(*args, **options)
    return [str(place.path), place.commit]

def dry_run(*args, **options):
    return [vars(file) for file in hub.dry_run(*args, **options)]

calls = {call.__name__: call for call in (zoo, python, locate, dry_run)}
for line in sys.stdin:
    name, args, options = json.loads(line)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            answer = {"found": calls[name](*args, **options)}
        except ZooError as error:
            answer = {"error": type(error).__name__, "exit_code": error.exit_code, "text": str(error)}
    answer["told"] = [str(warning.message) for warning in told if warning.category is ZooWarning]
    print(json.dumps(answer), flush=True)
"""


class Result(NamedTuple):
    """What a command came to."""

    exit_code: int
    stdout: str
    stderr: str


class Client:
    """The real client of huggingface_hub, behind ours, talking to the test's server."""

    def __init__(self, url: str, home: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", CLIENT]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def __call__(self, name: str, *args: Any, **options: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([name, args, options]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client died"
        return json.loads(line)

    def zoo(self, *words: str, token: str | None = TOKEN, **environment: str) -> Result:
        """What `zoo` with `words` does in the client's process."""
        return Result(*self("zoo", *words, HF_TOKEN=token, **environment)["found"])

    def python(self, code: str, *, token: str | None = TOKEN, **known: Any) -> Any:
        """What `code` leaves in `found`, run in the client's process; an error of zoo fails the test."""
        given = {"HF_TOKEN": token} if token else {}
        log_in = f"import os\nos.environ.pop('HF_TOKEN', None)\nos.environ.update({given!r})"
        answer = self("python", f"{log_in}\n{code}", **known)
        assert "found" in answer, answer
        return answer["found"]

    def close(self) -> None:
        self.process.communicate(timeout=30)
