"""What a model costs, every number by its name: what `zoo show`, `build` and `compare` tell. Needs no torch.

A number that depends on the length of the text is told together with the `length` that it is counted for.
"""

from __future__ import annotations

from typing import Any

from zoo.anatomy.adapters import RANK, adapter_parameters, lora_bytes
from zoo.anatomy.quantisation import quantisation, quantised_bytes
from zoo.anatomy.size import Size, Training
from zoo.units import human_bytes, human_flops


def costs(
    size: Size, length: int | None, *, dtype: str | None = None, rank: int = RANK, quantize: str | None = None
) -> dict[str, Any]:
    """A model's costs as JSON values, for a text of `length` tokens (None: the context that it is made for).

    Bytes are counted in `dtype`, or else in that of the released weights. Without a length, as for a model that is
    made for any, what depends on one is None. With `quantize` the weights are those of `zoo.load(quantize=...)`: the
    matrices of the layers packed, and all others in that type. Raises UnknownName for a form that there is not.
    """
    length = size.anatomy.max_seq_len if length is None else length
    told: dict[str, Any] = {
        "parameters": size.parameters,
        "active_parameters": size.active_parameters,
        "by_role": size.by_role,
        "lora_rank": rank,
        "lora_parameters": adapter_parameters(size.anatomy, rank),
        "optimal_tokens": size.optimal_tokens,
        "max_seq_len": size.anatomy.max_seq_len,
        "dtype": dtype or size.dtype,
        "weight_bytes": size.weight_bytes(dtype),
        "cache_bytes_per_token": size.cache_bytes_per_token(dtype),
        "source_cache_bytes_per_token": size.source_cache_bytes(1, dtype=dtype),
        "state_bytes": size.state_bytes(dtype),
        "first_token_flops": size.flops_per_token(0),
        "source_token_flops": size.prefill_flops(1) if size.anatomy.cross else None,
        "length": length,
    }
    if quantize is not None:
        packed, kept = quantised_bytes(size.anatomy.weights, quantisation(quantize), told["dtype"])
        told |= {"weight_bytes": packed + kept, "quantize": quantize, "packed_bytes": packed, "kept_bytes": kept}
    return told | _of_length(size, length, dtype, rank)


def _of_length(size: Size, length: int | None, dtype: str | None, rank: int) -> dict[str, Any]:
    if not length:
        return dict.fromkeys(
            (
                "cache_bytes",
                "prefill_flops",
                "last_token_flops",
                "training_bytes",
                "recomputed_activations",
                "lora_bytes",
            )
        )
    return {
        "cache_bytes": size.cache_bytes(length, dtype=dtype),
        "prefill_flops": size.prefill_flops(length),
        "last_token_flops": size.flops_per_token(length - 1),
        "training_bytes": _parts(size.training_bytes(1, length, dtype)),
        "recomputed_activations": size.recomputed_activations(1, length, dtype),
        "lora_bytes": _parts(lora_bytes(size, 1, length, rank=rank, dtype=dtype)),
    }


def _parts(need: Training) -> dict[str, int]:
    return vars(need) | {"total": need.total}


def cache_in_words(told: dict[str, Any]) -> str:
    """Bytes of cache by the token and for the whole text; empty for a model that keeps none."""
    if not told["cache_bytes_per_token"]:
        return ""
    words = [f"{human_bytes(told['cache_bytes_per_token'])}/token"]
    if told["length"]:
        words.append(f"{human_bytes(told['cache_bytes'])} at {told['length']:,}")
    if source := told["source_cache_bytes_per_token"]:
        words.append(f"{human_bytes(source)}/token of the source")
    return " · ".join(words)


def compute_in_words(told: dict[str, Any]) -> str:
    """FLOPs of a forward pass of the first token and of the last, behind which the whole text is."""
    words = [f"{human_flops(told['first_token_flops'])} for the first token"]
    if told["length"]:
        words.append(f"{human_flops(told['last_token_flops'])} for the one at {told['length']:,}")
    if source := told["source_token_flops"]:
        words.append(f"{human_flops(source)}/token of the source")
    return " · ".join(words)
