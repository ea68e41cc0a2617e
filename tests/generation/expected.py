"""Texts and scores that transformers finds with the weights of LLaMA's golden, kept in expected.json for fast tests.

python -m tests.generation.expected writes the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file

from zoo.checkpoint.interpretation import table_for
from zoo.registry import installed
from zoo.verification.goldens.file import Golden, numbers
from zoo.verification.goldens.rerun import build_golden, goldens_of
from zoo.weights.table import foreign_shapes

FILE = Path(__file__).with_name("expected.json")
PROMPTS = [[3, 17, 5, 9, 17], [8, 2, 41, 8, 2]]
EOS = [7, 23, 30, 27]
LENGTH = 9
BANS = {"repetition_penalty": 1.4, "no_repeat_ngram_size": 2}
SETTINGS: list[dict[str, Any]] = [
    {}, {"repetition_penalty": 1.7}, {"repetition_penalty": 0.6},
    {"repetition_penalty": 0.6, "no_repeat_ngram_size": 2}, {"repetition_penalty": 0.6, "no_repeat_ngram_size": 3},
    {"no_repeat_ngram_size": 1}, {"min_new_tokens": 4},
    {"num_beams": 2, "length_penalty": 1.0}, {"num_beams": 5, "length_penalty": 1.0},
    {"num_beams": 3, "length_penalty": 0.0, "early_stopping": True},
    {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
    {"num_beams": 4, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 4, "length_penalty": -1.0}, {"num_beams": 3, **BANS}, {"num_beams": 3, "min_new_tokens": 3},
    {"num_beams": 3, "min_new_tokens": 4, "repetition_penalty": 0.6, "no_repeat_ngram_size": 3},
]  # fmt: skip


def golden() -> Golden:
    """The plain LLaMA's."""
    return next(g for g in goldens_of(installed()["llama"]) if g.name == "llama")


def found_by_transformers() -> list[dict[str, Any]]:
    """New tokens and, of beams, scores, for each of the settings."""
    from zoo.verification.exact import Float64
    from zoo.verification.in_transformers import load_in_transformers

    chosen = golden()
    model = build_golden(chosen)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    steps, _ = table_for(installed()["llama"], "hf", model.config).plan(shapes)
    theirs = {n: numbers(n, s) for step in steps for n, s in foreign_shapes(step, shapes).items()}
    with TemporaryDirectory() as folder:
        save_file({n: t.contiguous() for n, t in theirs.items()}, Path(folder, "model.safetensors"), {"format": "pt"})
        Path(folder, "config.json").write_text(json.dumps(chosen.config))
        reference, _ = load_in_transformers(Path(folder), torch.float64)
    tokens: Any = torch.tensor(PROMPTS)
    found = []
    for settings in SETTINGS:
        with torch.no_grad(), Float64():
            out = reference.generate(
                tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=LENGTH, do_sample=False, pad_token_id=0,
                eos_token_id=EOS, return_dict_in_generate=True, output_scores=True, **settings,
            )  # fmt: skip
        scores = out.sequences_scores.tolist() if "num_beams" in settings else None
        found.append({"tokens": [_cut(row) for row in out.sequences[:, len(PROMPTS[0]) :].tolist()], "scores": scores})
    return found


def _cut(row: list[int]) -> list[int]:
    ends = [i for i, token in enumerate(row) if token in EOS]
    return row[: ends[0] + 1] if ends else row


if __name__ == "__main__":
    FILE.write_text("[\n" + ",\n".join(map(json.dumps, found_by_transformers())) + "\n]\n", encoding="utf-8")
