"""Names and shapes of the tensors in files of the hub, of any year, with their config.

Kept in headers.json, so that fast tests need neither the files nor transformers.
python -m tests.reference.headers writes the file anew, from ../shared/tools/make_tiny_hf.py.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from tests.reference.added import add_to
from tests.reference.encoded import add_encoders
from tests.reference.more import add_more

FILE = Path(__file__).with_name("headers.json")
TOOL = Path(__file__).resolve().parents[3] / "shared" / "tools" / "make_tiny_hf.py"


def load_tool(path: Path = TOOL) -> ModuleType:
    """The module that makes tiny checkpoints."""
    spec = importlib.util.spec_from_file_location("make_tiny_hf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return add_encoders(add_more(add_to(module)))


def made(tool: ModuleType, name: str) -> dict[str, Any] | None:
    """Config and shapes of one checkpoint in the hub's spelling; None where zoo has no family for it."""
    from zoo.errors import ZooError

    with TemporaryDirectory() as parent, redirect_stdout(StringIO()):
        folder = Path(parent) / "x"
        tool.make(name, folder, "bf16", 1, 0, "hub", True, True)
        try:
            return read(folder)
        except ZooError:
            return None


def read(folder: Path) -> dict[str, Any]:
    """Family, config and shapes of a checkpoint."""
    import zoo

    ledger = zoo.inspect(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shapes = {n: [info.dtype, *info.shape] for n, info in sorted(ledger.checkpoint.tensors.items())}
    return {"family": ledger.family.name, "config": config, "tensors": shapes}


if __name__ == "__main__":
    tool = load_tool(Path(sys.argv[1]) if len(sys.argv) > 1 else TOOL)
    found = {name: made(tool, name) for name in tool.F}
    lines = [f" {json.dumps(name)}: {json.dumps(values)}" for name, values in found.items() if values]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
