"""Writes goldens of families that transformers has a class for; others give `write_golden` numbers of their own."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.anatomy.config import ModelConfig
from zoo.checkpoint.interpretation import table_for
from zoo.checkpoint.loading import load
from zoo.errors import ZooError, some
from zoo.models.construction import on_meta
from zoo.registry import installed
from zoo.verification.goldens.file import numbers, write_golden
from zoo.verification.goldens.rerun import folder_of
from zoo.verification.in_transformers import load_in_transformers
from zoo.verification.inputs import Inputs, inputs_for
from zoo.verification.recording import stacks
from zoo.verification.reference import side_of
from zoo.weights.table import foreign_shapes

LENGTH = 24  # tokens: beyond every window and original context of a tiny config
EXACT = 1e-9  # of expectations in float64


@torch.no_grad()
def golden_from_transformers(config: ModelConfig, label: str = "", given: dict[str, Tensor] | None = None) -> Path:
    """Write a golden of a small config beside its family: weights by the names of the table, run by transformers.

    `given` are the inputs; None: drawn ones.

    Raises ZooError where transformers does not read such a checkpoint, or reads another model from it.
    """
    name = config.family
    family = installed()[name]
    raw = json.loads(json.dumps(family.dialect("hf").to_config(config)))
    with TemporaryDirectory() as parent:
        folder = Path(parent)
        (folder / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        shapes = {n: tuple(p.shape) for n, p in on_meta(config).named_parameters()}
        steps, _ = table_for(family, "hf", config).plan(shapes)
        theirs = {n: s for step in steps for n, s in foreign_shapes(step, shapes).items()}
        save_file(
            {n: numbers(n, s).contiguous() for n, s in theirs.items()}, folder / "model.safetensors", {"format": "pt"}
        )
        model: Any = load(folder, dtype="float64")
        inputs = cut(inputs_for(model)) if given is None else Inputs(given, label)
        reference, random = load_in_transformers(folder, torch.float64)
        side = side_of(reference, model, table_for(family, "hf", config), inputs).exactly()
        events = side.record(stacks(model))
    own = inputs.run(model)
    outputs = {n: x for (n, kind), x in events.items() if kind == "output" and n in own and own[n].shape == x.shape}
    if not outputs or any("pooler" not in n for n in random):
        raise ZooError(f"transformers gives {some(sorted(outputs))}, and draws {some(random)} at random")
    file = folder_of(family) / f"{name}{label and '-'}{label}.json"
    write_golden(
        file,
        family=name,
        reference=side.said,
        config=raw,
        weights=None,
        inputs={n: list(x.shape) if n == "pixels" else x.tolist() for n, x in inputs.given.items()},
        expected={n: rows_of(x) for n, x in outputs.items()},
        layers={n: x.flatten(0, -2)[-1].tolist() for (n, kind), x in events.items() if kind == "out"},
        limit=EXACT,
    )
    return file


def cut(inputs: Inputs) -> Inputs:
    """One row, short, or one image."""
    given = {n: x[:1] if n == "pixels" else x[:1, :LENGTH] for n, x in inputs.given.items()}
    if "pixels" in given:
        given["pixels"] = numbers("pixels", tuple(given["pixels"].shape)).double()
    return Inputs(given, inputs.what)


def rows_of(x: Tensor) -> dict[str, Any]:
    """The first, the middle and the last row."""
    flat = x.reshape(-1, x.shape[-1])
    rows = sorted({0, len(flat) // 2, len(flat) - 1})
    return {"rows": rows, "values": flat[rows].tolist()}
