"""Run where zoo-codegen is installed: a port of CodeGen, right and with planted mistakes, held to transformers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers

import zoo
from tests.verification.parallel import report
from zoo.testing.subject import peaked


def write(folder: Path) -> None:
    """A checkpoint of transformers' own, with peaked weights."""
    config = transformers.CodeGenConfig(
        vocab_size=61, n_positions=128, n_embd=64, n_layer=3, n_head=4, n_inner=80, rotary_dim=8,
        layer_norm_epsilon=3e-5, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    peaked(transformers.CodeGenForCausalLM(config)).save_pretrained(folder)


def main() -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as home:
        folder = Path(home) / "model"
        write(folder)

        def make(dtype: str) -> Any:
            model = zoo.load(folder, dtype=dtype)
            return model.double() if dtype == "float64" else model

        json.dump(report(make, zoo.verify), sys.stdout)


if __name__ == "__main__":
    main()
