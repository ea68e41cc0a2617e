"""A model of each kind beside transformers: random weights in shapes that measure the model and not Python alone."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import pair
from turns import table

NO_ENDS = ("model.bos_token_id=1", "model.eos_token_id=[2]")
GEMMA = ("model.vocab_size=32768", "model.pad_token_id=0", *NO_ENDS)
DEEPSEEK = (
    "model.vocab_size=32768", "model.hidden_size=768", "model.intermediate_size=2048", "model.num_layers=4",
    "model.num_heads=16", "model.num_experts=16", "model.moe_intermediate_size=512", "model.max_seq_len=8192", *NO_ENDS,
)  # fmt: skip
QWEN = (
    "model.vocab_size=32768", "model.hidden_size=768", "model.num_layers=6", "model.num_heads=12",
    "model.num_experts=32", "model.moe_intermediate_size=384", *NO_ENDS,
)  # fmt: skip
T5, BERT = "AutoModelForSeq2SeqLM", "AutoModelForMaskedLM"
COMPILED = {"compile": True}


def both(name: str, tokens: int, *, after: int, new: int = 12, repeats: int = 4) -> list[dict[str, Any]]:
    """Decoding after so many tokens, step by step and compiled, and reading so many at once."""
    decode = {"what": "decode", "tokens": (1, after), "new": new, "repeats": repeats}
    return [
        {**decode, "name": f"{name}: decode after {after}"},
        {**decode, "name": f"{name}: decode after {after}, compiled", "options": COMPILED},
        {"name": f"{name}: read {tokens}", "what": "read", "tokens": (1, tokens), "repeats": repeats},
    ]


CASES: list[dict[str, Any]] = [  # what each is stands in its name
    {"preset": "gpt2", "work": both("gpt2, 124M", 512, after=64)},
    {"preset": "gemma3-270m", "overrides": GEMMA,
     "work": both("gemma3-270m with 32k words, 121M, window 512", 1024, after=1024, new=12)},
    {"preset": "deepseek-v2-lite", "overrides": DEEPSEEK,
     "work": both("deepseek-v2-lite's MLA, 768 wide, 4 layers, 6 of 16 experts of 512", 1024, after=4096, new=6,
                  repeats=3)},
    {"preset": "qwen3-30b-a3b", "overrides": QWEN,
     "work": both("qwen3-moe, 768 wide, 6 layers, 8 of 32 experts of 384", 512, after=64)},
    {"preset": "t5-small", "kind": T5, "work": both("t5-small, 61M, source of 128", 128, after=128, new=32)},
    {"preset": "bert-base-uncased", "kind": BERT, "work": [
        {"name": "bert-base, 110M: 4 texts of 128", "what": "encode", "tokens": (4, 128)}]},
]  # fmt: skip


def middle(rows: list[list[str]]) -> str:
    """Of the medians of all rows; and with the compiled steps in place of the others, as a user would take them."""
    fast = {name: float(ratio.split("×")[0]) for name, _, _, ratio in rows}
    plain = [value for name, value in fast.items() if not name.endswith("compiled")]
    best = [fast.get(f"{name}, compiled", value) for name, value in fast.items() if not name.endswith("compiled")]
    return f"{median(plain):.3g}× step by step, {median(best):.3g}× where steps are compiled"


def report(smollm2: Path | None) -> list[str]:
    """A row of each work."""
    rows = []
    for case in CASES:
        for row in pair.rows(case):
            rows.append(row[:4])
            print(" | ".join(row[:4]), flush=True)  # a run that is cut short has told what it found
    about = [
        "Random weights in float32, 2 threads, both sides from one folder: that the logits agree, and the greedy",
        "tokens are the same, is checked before anything is timed. *Decode*: a token of `generate`, greedy, the middle",
        "one of a text's; *compiled*: by zoo alone, with `compile=True`; *read*: a pass over all tokens, logits of the",
        "last. transformers computes mixtures in the fastest of its three ways.",
        f"Times as fast, the median of all rows: {middle(rows)}.",
    ]
    return ["## Families", "", *about, "", *table(pair.HEAD[:4], rows)]
