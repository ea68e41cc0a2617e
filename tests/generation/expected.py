"""Texts and scores that transformers finds with the weights of LLaMA's golden, kept in expected.json for fast tests.

python -m tests.generation.expected writes the file anew.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
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
    {"min_length": 12}, {"bad_words_ids": [[7], [30, 27], [4], [12, 3]]}, {"suppress_tokens": [7, 30, 4, 19]},
    {"begin_suppress_tokens": [7, 4, 12, 30]}, {"forced_eos_token_id": [23, 30], "suppress_tokens": [7, 27]},
    {"encoder_no_repeat_ngram_size": 1}, {"encoder_repetition_penalty": 3.0}, {"guidance_scale": 2.5},
    {"sequence_bias": [[[4], -9.0], [[17, 5], 20.0], [[7], -3.0], [[30], -3.0]]},
    {"exponential_decay_length_penalty": [2, 1.8], "suppress_tokens": [23]}, {"remove_invalid_values": True},
    {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.5},
    {"num_beams": 4, "forced_eos_token_id": [23], "bad_words_ids": [[30], [7], [27], [4, 4]], "length_penalty": 0.0},
    {"num_beams": 3, "renormalize_logits": True, "suppress_tokens": [7, 30], "num_return_sequences": 2},
    {"num_beams": 3, "min_length": 11, "encoder_no_repeat_ngram_size": 2, "sequence_bias": [[[23], 2.0]]},
    {"num_beams": 2, "exponential_decay_length_penalty": [1, 1.2], "encoder_repetition_penalty": 0.6},
    {"max_new_tokens": None, "max_length": 11, "min_new_tokens": 3},
    {"max_new_tokens": None, "max_length": 10, "num_beams": 3, "forced_eos_token_id": [7]},
    {"min_length": 12, "min_new_tokens": 1}, {"num_beams": 3, "min_length": 13, "min_new_tokens": 2},
]  # fmt: skip
# Groups of beams, which transformers does itself up to 4.57: `python -m tests.generation.expected groups` with 4.49.
GROUPS: list[dict[str, Any]] = [
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.5, "early_stopping": True},
    {"num_beams": 4, "num_beam_groups": 4, "diversity_penalty": 0.7, "early_stopping": True,
     "num_return_sequences": 4},
    {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 5.0, "num_return_sequences": 6,
     "early_stopping": True, "length_penalty": 0.0},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 2.0, "num_return_sequences": 4},
    {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 2.0, "early_stopping": "never",
     "num_return_sequences": 3, "repetition_penalty": 1.4, "no_repeat_ngram_size": 2, "length_penalty": 2.0},
]  # fmt: skip
GROUPS_FILE = Path(__file__).with_name("expected_groups.json")


def golden() -> Golden:
    """The plain LLaMA's."""
    return next(g for g in goldens_of(installed()["llama"]) if g.name == "llama")


def found_by_transformers(of: list[dict[str, Any]] = SETTINGS) -> list[dict[str, Any]]:
    """New tokens and, of beams, scores, for each of the settings."""
    from transformers import LlamaForCausalLM

    from zoo.verification.exact import Float64

    chosen = golden()
    model = build_golden(chosen)
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    steps, _ = table_for(installed()["llama"], "hf", model.config).plan(shapes)
    theirs = {n: numbers(n, s) for step in steps for n, s in foreign_shapes(step, shapes).items()}
    with TemporaryDirectory() as folder:
        save_file({n: t.contiguous() for n, t in theirs.items()}, Path(folder, "model.safetensors"), {"format": "pt"})
        # Transformers 4 reads rope_theta beside the other keys, and 5 in rope_parameters.
        Path(folder, "config.json").write_text(json.dumps(chosen.config | chosen.config["rope_parameters"]))
        reference: Any = LlamaForCausalLM.from_pretrained(folder, torch_dtype=torch.float64)
    tokens: Any = torch.tensor(PROMPTS)
    found = []
    for settings in of:
        asked = {"max_new_tokens": LENGTH} | settings
        # Biases are float32 in transformers, and do not go into sums that are lifted to float64.
        exact = nullcontext() if {"sequence_bias", "bad_words_ids"} & {*asked} else Float64()
        with torch.no_grad(), exact:
            out = reference.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False, pad_token_id=0, eos_token_id=EOS,
                return_dict_in_generate=True, output_scores=True, **asked,
            )  # fmt: skip
        scores = out.sequences_scores.tolist() if "num_beams" in settings else None
        found.append({"tokens": [_cut(row) for row in out.sequences[:, len(PROMPTS[0]) :].tolist()], "scores": scores})
    return found


def _cut(row: list[int]) -> list[int]:
    ends = [i for i, token in enumerate(row) if token in EOS]
    return row[: ends[0] + 1] if ends else row


if __name__ == "__main__":
    file, of = (GROUPS_FILE, GROUPS) if "groups" in sys.argv else (FILE, SETTINGS)
    file.write_text("[\n" + ",\n".join(map(json.dumps, found_by_transformers(of))) + "\n]\n", encoding="utf-8")
