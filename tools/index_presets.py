#!/usr/bin/env python
"""Write conf/index.json, from which `zoo list` reads what our own presets describe, and conf/values.jsonl, for `show`.

Working it out for every preset takes longer than everything else that `zoo list` does, and so does parsing YAML for
`zoo show`. What is stale is harmless: zoo sees that it was made from other files and reads those;
tests/presets/test_presets.py says when to run this.
"""

from __future__ import annotations

import json
from pathlib import Path

from zoo.presets import INDEX, make_index
from zoo.presets.values import VALUES, make_values
from zoo.registry import installed

registry = installed()
path = Path(__file__).resolve().parents[1] / "conf" / INDEX
path.with_name(VALUES).write_text(
    make_values([*registry.presets().values(), *registry.options().values()]), encoding="utf-8"
)
index = make_index(registry.presets())
rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in index["models"])
path.write_text(f'{{"checksum": {index["checksum"]}, "models": [\n{rows}\n]}}\n', encoding="utf-8")
print(f"{path}: {len(index['models'])} models")
for row in index["models"]:
    if problem := row.get("problem"):
        print(f"  {row['name']}: {problem}")
