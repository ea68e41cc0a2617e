"""What a cache of 8 bits costs: KL against the same model with the cache as it is computed, token by token."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from turns import table

import zoo
from zoo.measurement.agreement import kl_divergence
from zoo.measurement.passages import SAMPLE, read_text
from zoo.nn import in_int8
from zoo.units import human_bytes

TOKENS = 128  # read one by one


def report(smollm2: Path | None) -> list[str]:
    """KL, agreement and bytes for the model in the box, and a released one where it is here."""
    sources = {"tiny": "tiny"} | ({} if smollm2 is None else {"SmolLM2-135M": str(smollm2)})
    rows = []
    for name, source in sources.items():
        model: Any = zoo.load(source, dtype="float32")
        rows.append([name, *_compared(model, model.tokenizer.encode(read_text(SAMPLE))[:TOKENS])])
        del model
        gc.collect()
    about = f"The first {TOKENS} tokens of zoo's sample text, read one by one, float32 otherwise."
    head = ["model", "bytes", "bytes in int8", "KL, mean", "KL, largest", "same likeliest token"]
    return ["## A cache of 8 bits", "", about, "", *table(head, rows)]


@torch.inference_mode()
def _compared(model: Any, ids: list[int]) -> list[str]:
    caches = model.new_cache(1, TOKENS), in_int8(model.new_cache(1, TOKENS))
    plain, rounded = (_log_probs(model, ids, cache) for cache in caches)
    kl = kl_divergence(plain, rounded)
    same = (plain.argmax(-1) == rounded.argmax(-1)).double().mean().item()
    sizes = [human_bytes(cache.nbytes) for cache in caches]
    return [*sizes, f"{kl.mean().item():.2g}", f"{kl.max().item():.2g}", f"{same:.1%}"]


def _log_probs(model: Any, ids: list[int], cache: Any) -> Tensor:
    return torch.cat([model(torch.tensor([[i]]), cache=cache)[0].float().log_softmax(-1) for i in ids])
