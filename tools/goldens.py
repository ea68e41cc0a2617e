"""Write the goldens of all families: numbers of the reference implementations that `zoo verify --golden` reruns.

    python tools/goldens.py                     those that transformers computes, in float64
    python tools/goldens.py --originals FOLDER  those that the original code of models outside of transformers computed

FOLDER holds a folder per model with config.json, model.safetensors, inputs.safetensors and expected.safetensors.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from zoo.anatomy.config import RopeConfig
from zoo.checkpoint.inspection import inspect
from zoo.registry import installed
from zoo.verification.goldens.file import write_golden
from zoo.verification.goldens.rerun import folder_of, rerun_goldens
from zoo.verification.goldens.writer import golden_from_transformers, rows_of

STORED = 2e-6  # of expectations that were kept in float32
YARN = RopeConfig(theta=1000.0, scaling="yarn", factor=4.0, original_max_seq_len=16)
LLAMA3 = RopeConfig(theta=1000.0, scaling="llama3", factor=8.0, original_max_seq_len=16)
LINEAR = RopeConfig(theta=1000.0, scaling="linear", factor=4.0)
ONE_ROPE = {"local_rope": RopeConfig(theta=5000.0)}

GATED = {"is_gated": True, "activation": "gelu_tanh", "tie_embeddings": False, "scale_outputs": False}

# family -> label -> fields that differ from the tiny config; "" is the tiny config itself
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "llama": {
        "": {}, "tied": {"tie_embeddings": True}, "llama3": {"rope": LLAMA3}, "yarn": {"rope": YARN},
        "linear": {"rope": LINEAR},
    },
    "gemma": {
        "": {"attn_softcap": None},  # transformers reads a cap of Gemma 3's scores and does not apply it
        "1": {"generation": 1, "query_pre_attn_scalar": 10.0, "attn_softcap": None, "final_softcap": None,
              "sliding_window": None, "local_per_global": 0, **ONE_ROPE},
        "2": {"generation": 2, **ONE_ROPE},
    },
    "gemma3_vl": {"": {"attn_softcap": None}},
    "t5": {"": {}, "1.1": GATED, "umt5": {**GATED, "has_bias_per_layer": True, "flavour": "umt5"}},
    "glm": {"": {}, "plain": {"is_sandwiched": False}},
    "deepseek": {"": {}, "v2": {"hidden_size": 21, "scoring": "softmax", "is_renormalised": False}},
}  # fmt: skip

# model -> (folder, family, name of the case, its expected logits)
ORIGINALS = (
    ("chatglm-6b-3l", "chatglm", "gmask_middle.input_ids", "gmask_middle.logits"),
    ("chatglm2-6b", "chatglm2", "plain.input_ids", "plain.logits"),
    ("qwen-7b-v1", "qwen", "long.input_ids", "len33.logits"),
    ("qwen-vl-chat", "qwen_vl", "text.input_ids", "text.logits"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=Path)
    folder = parser.parse_args().originals
    if folder is not None:
        for original in ORIGINALS:
            from_original(folder, *original)
    else:
        for name, family in sorted(installed().families.items()):
            if "hf" in family.formats and name not in {o[1] for o in ORIGINALS}:
                for label, fields in VARIANTS.get(name, {"": {}}).items():
                    golden_from_transformers(replace(family.config_class.tiny(), **fields), label)
    for result in rerun_goldens():
        print(result)


def from_original(root: Path, folder: str, name: str, given: str, expected: str) -> None:
    """Weights and numbers as they were made beside the original code; what the case does not read is left out."""
    family, path = installed()[name], root / folder
    raw = json.loads((path / "config.json").read_text(encoding="utf-8"))
    logits = load_file(path / "expected.safetensors")[expected][:1].double()
    tokens = load_file(path / "inputs.safetensors")[given][:1, : logits.shape[1]]
    ledger = inspect(path)
    read = {ledger.account.actual[n] for step in ledger.account.steps for n in step.theirs}
    stored = load_file(path / "model.safetensors")
    kept = {n: stored[n].contiguous() for n in sorted(read) if ".visual." not in n}
    home = folder_of(family)
    home.mkdir(exist_ok=True)
    save_file(kept, home / f"{name}.safetensors")
    write_golden(
        home / f"{name}.json",
        family=name,
        reference=f"{raw['architectures'][0]}, the code released with its weights, float64, kept in float32",
        config=raw,
        weights=f"{name}.safetensors",
        inputs={"tokens": tokens.tolist()},
        expected={"logits": rows_of(logits)},
        layers={},
        limit=STORED,
    )


if __name__ == "__main__":
    main()
