"""The forms in which packed weights are written, as the libraries that own them read them.

N rows, K columns, G groups. int8 and int4 are compressed-tensors' pack-quantized, fp8 its float-quantized, nf4 is
bitsandbytes'. Scales are rounded to bfloat16 before the codes are chosen, and stored in the type of the weight.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.anatomy.records import Shape
from zoo.files.packed.bitsandbytes import TABLES
from zoo.files.safetensors_writer import TensorSpec

FP8_MOST = 448.0  # the largest number of float8_e4m3fn
BLOCK = 64  # numbers that share a scale in nf4


class Packed(NamedTuple):
    """A weight as it is written, and the numbers that it stands for, in float32."""

    parts: dict[str, Tensor]  # suffix of the module's name -> tensor
    numbers: Tensor


@dataclass(frozen=True)
class WrittenForm:
    """One form: what tensors a weight [N, K] becomes, how, and what config.json says of it."""

    name: str
    words: str
    specs: Callable[[Shape, str, int], dict[str, TensorSpec]]
    pack: Callable[[Tensor, int], Packed]
    config: Callable[[Sequence[str], int, str], dict[str, Any]]
    groups: tuple[int, ...] = ()  # sizes of a group that may be chosen, the first by default
    whole: int = 1  # columns of which there must be whole multiples, or the weight stays as it is


def _int_specs(bits: int) -> Callable[[Shape, str, int], dict[str, TensorSpec]]:
    def specs(shape: Shape, dtype: str, group: int) -> dict[str, TensorSpec]:
        rows, columns = shape
        words, groups = -(-columns * bits // 32), columns // group if bits == 4 else 1
        return {
            "weight_packed": ("int32", (rows, words)),
            "weight_scale": (dtype, (rows, groups)),
            "weight_shape": ("int64", (2,)),
        }

    return specs


def _pack_int8(weight: Tensor, group: int) -> Packed:
    scales = _scales(weight.float().abs().amax(1, keepdim=True) / 127, weight.dtype)
    codes = (weight.float() / scales.float()).round_().clamp_(-128, 127)
    parts = {"weight_packed": in_words(codes, 8), "weight_scale": scales, "weight_shape": torch.tensor(weight.shape)}
    return Packed(parts, codes * scales.float())


def _pack_int4(weight: Tensor, group: int) -> Packed:
    """The best of three scales for each group: the greatest number stands for 7, 7.5 or 8 of them."""
    groups = weight.float().unflatten(1, (-1, group))  # [N, G, group]
    most = groups.abs().amax(-1, keepdim=True)
    best = torch.full_like(most, float("inf"))
    scales, codes = torch.ones_like(most, dtype=weight.dtype), torch.zeros_like(groups)
    for steps in (7.0, 7.5, 8.0):
        tried = _scales(most / steps, weight.dtype)
        found = (groups / tried.float()).round_().clamp_(-8, 7)
        lost = (found * tried.float() - groups).square().sum(-1, keepdim=True)
        is_better = lost < best
        best, scales = torch.where(is_better, lost, best), torch.where(is_better, tried, scales)
        codes = torch.where(is_better, found, codes)
    parts = {
        "weight_packed": in_words(codes.flatten(1), 4),
        "weight_scale": scales[..., 0],
        "weight_shape": torch.tensor(weight.shape),
    }
    return Packed(parts, (codes * scales.float()).flatten(1))


def _fp8_specs(shape: Shape, dtype: str, group: int) -> dict[str, TensorSpec]:
    return {"weight": ("float8_e4m3fn", shape), "weight_scale": (dtype, (shape[0], 1))}


def _pack_fp8(weight: Tensor, group: int) -> Packed:
    scales = _scales(weight.float().abs().amax(1, keepdim=True) / FP8_MOST, weight.dtype)
    codes = (weight.float() / scales.float()).clamp_(-FP8_MOST, FP8_MOST).to(torch.float8_e4m3fn)
    return Packed({"weight": codes, "weight_scale": scales}, codes.float() * scales.float())


def _nf4_state(shape: Shape, dtype: str) -> bytes:
    state = {"quant_type": "nf4", "blocksize": BLOCK, "dtype": dtype, "shape": list(shape)}
    return json.dumps(state).encode()


def _nf4_specs(shape: Shape, dtype: str, group: int) -> dict[str, TensorSpec]:
    count = shape[0] * shape[1]
    return {
        "weight": ("uint8", (-(-count // 2), 1)),
        "weight.absmax": ("float32", (-(-count // BLOCK),)),
        "weight.quant_map": ("float32", (16,)),
        "weight.quant_state.bitsandbytes__nf4": ("uint8", (len(_nf4_state(shape, dtype)),)),
    }


def _pack_nf4(weight: Tensor, group: int) -> Packed:
    table = torch.tensor(TABLES["nf4"])
    line = weight.float().flatten()
    blocks = F.pad(line, (0, -len(line) % BLOCK)).unflatten(0, (-1, BLOCK))
    most = blocks.abs().amax(1)
    shares = blocks / torch.where(most == 0, torch.ones_like(most), most)[:, None]
    codes = torch.bucketize(shares, (table[1:] + table[:-1]) / 2)
    numbers = (table[codes] * most[:, None]).flatten()[: len(line)].reshape(weight.shape)
    even, odd = F.pad(codes.flatten()[: len(line)].to(torch.uint8), (0, len(line) % 2)).unflatten(0, (-1, 2)).unbind(1)
    state = _nf4_state(tuple(weight.shape), str(weight.dtype).removeprefix("torch."))
    parts = {
        "weight": (even << 4 | odd)[:, None],
        "weight.absmax": most,
        "weight.quant_map": table,
        "weight.quant_state.bitsandbytes__nf4": torch.frombuffer(bytearray(state), dtype=torch.uint8),
    }
    return Packed(parts, numbers.to(weight.dtype).float())


def in_words(codes: Tensor, bits: int) -> Tensor:
    """Whole numbers [N, K] of either sign, plus half their range, in words of 32 bits from the lowest on. [N, W]"""
    shifted = (codes + (1 << bits - 1)).to(torch.uint8)
    per_word = 32 // bits
    shifted = F.pad(shifted, (0, -shifted.shape[1] % per_word))
    if bits == 4:
        shifted = shifted[:, ::2] | shifted[:, 1::2] << 4
    return shifted.contiguous().view(torch.int32)


def _scales(wanted: Tensor, dtype: torch.dtype) -> Tensor:
    """Scales as they are stored; 1 where all numbers are 0, or too small for the type."""
    stored = wanted.to(torch.bfloat16).to(dtype)
    return torch.where(stored == 0, torch.ones_like(stored), stored)


def _compressed(format: str, **weights: Any) -> Callable[[Sequence[str], int, str], dict[str, Any]]:
    """What compressed-tensors 0.20 writes."""

    def config(ignored: Sequence[str], group: int, dtype: str) -> dict[str, Any]:
        size = group if weights["strategy"] == "group" else None
        scheme = {**weights, "symmetric": True, "group_size": size, "dynamic": False}
        return {
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"], "weights": scheme, "input_activations": None, "output_activations": None,
                    "format": format,
                }
            },
            "quant_method": "compressed-tensors", "kv_cache_scheme": None, "format": format,
            "quantization_status": "compressed", "global_compression_ratio": None, "ignore": list(ignored),
        }  # fmt: skip

    return config


def _bitsandbytes(ignored: Sequence[str], group: int, dtype: str) -> dict[str, Any]:
    return {
        "quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": False, "bnb_4bit_compute_dtype": dtype, "bnb_4bit_quant_storage": "uint8",
        "llm_int8_skip_modules": list(ignored),
    }  # fmt: skip


FORMS = {
    form.name: form
    for form in (
        WrittenForm("int8", "8-bit integers, a scale per row", _int_specs(8), _pack_int8,
                    _compressed("pack-quantized", num_bits=8, type="int", strategy="channel")),
        WrittenForm("int4", "4-bit integers, a scale per group of columns", _int_specs(4), _pack_int4,
                    _compressed("pack-quantized", num_bits=4, type="int", strategy="group"), (32, 64, 128)),
        WrittenForm("fp8", "8-bit floats, a scale per row", _fp8_specs, _pack_fp8,
                    _compressed("float-quantized", num_bits=8, type="float", strategy="channel")),
        WrittenForm("nf4", "4-bit codes of the normal distribution, blocks of 64", _nf4_specs, _pack_nf4,
                    _bitsandbytes, whole=BLOCK),  # bitsandbytes has a kernel for CPU that needs whole blocks
    )
}  # fmt: skip
