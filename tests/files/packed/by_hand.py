"""Matrices packed by hand from the published layouts, in numpy and torch, and the numbers that they stand for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Pack = Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]]  # a module's matrix to its parts and their numbers
FP8, G = torch.float8_e4m3fn, torch.Generator().manual_seed(3)
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # the row that stands at each place of a word, from the lowest bits


def words(codes: np.ndarray, bits: int) -> Tensor:
    """Codes [N, K] as one stream of bits per column, the lowest first, cut into words of 32: [N * bits / 32, K]."""
    streams = ((codes[:, None, :] >> np.arange(bits)[None, :, None]) & 1).reshape(-1, codes.shape[1])
    cut = streams.reshape(-1, 32, codes.shape[1]).astype(np.uint64) << np.arange(32, dtype=np.uint64)[None, :, None]
    return torch.from_numpy(cut.sum(1).astype(np.uint32).view(np.int32).copy())


def quantise(
    matrix: Tensor, bits: int, groups: np.ndarray, *, symmetric: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes [out, in], zero points [out, G] and scales [out, G] in float16: round to nearest."""
    values, top = matrix.float().numpy(), 2**bits - 1
    count = int(groups.max()) + 1
    zeros, scales = np.zeros((len(values), count), np.int64), np.zeros((len(values), count), np.float16)
    codes = np.zeros(values.shape, np.int64)
    for g in range(count):
        part = values[:, groups == g]
        low, high = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        if symmetric:
            high = np.maximum(-low, high)
            low = -high
        scale = ((high - low) / top).astype(np.float16)
        zero = np.full(len(values), (top + 1) // 2) if symmetric else np.rint(-low / scale.astype(np.float32))
        zeros[:, g], scales[:, g] = np.clip(zero, 1, top), scale
        codes[:, groups == g] = np.clip(np.rint(part / scale[:, None].astype(np.float32)) + zeros[:, g : g + 1], 0, top)
    return codes, zeros, scales


def numbers(codes: np.ndarray, zeros: np.ndarray, scales: np.ndarray, groups: np.ndarray) -> Tensor:
    """(code - zero) * scale, in float16."""
    out = (codes - zeros[:, groups]).astype(np.float16) * scales[:, groups]
    return torch.from_numpy(out)


def gptq(
    bits: int, size: int, *, symmetric: bool = True, ordered: bool = False, v2: bool = False, index: bool = True
) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        columns = matrix.shape[1]
        groups = np.arange(columns) // (columns if size == -1 else size)
        if ordered:
            groups = np.random.default_rng(columns).permutation(groups)
        codes, zeros, scales = quantise(matrix, bits, groups, symmetric=symmetric)
        parts = {
            "qweight": words(codes.T, bits),
            "qzeros": words(zeros - (0 if v2 else 1), bits).T.contiguous(),
            "scales": torch.from_numpy(scales.T.copy()),
        }
        parts |= {"g_idx": torch.from_numpy(groups.astype(np.int32))} if index else {}
        return parts, numbers(codes, zeros, scales, groups)

    return pack


def awq(size: int) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        groups = np.arange(matrix.shape[1]) // (matrix.shape[1] if size == -1 else size)
        codes, zeros, scales = quantise(matrix, 4, groups, symmetric=False)

        def turned(values: np.ndarray) -> Tensor:  # [out, n] to [n, out / 8]
            eights = values.reshape(-1, 8, values.shape[1])[:, AWQ_ORDER]
            return words(eights.reshape(values.shape), 4).T.contiguous()

        parts = {"qweight": turned(codes), "qzeros": turned(zeros), "scales": torch.from_numpy(scales.T.copy())}
        return parts, numbers(codes, zeros, scales, groups)

    return pack


def scaled(shape: Callable[[Tensor], tuple[int, ...]], name: str = "weight_scale", **more: Tensor) -> Pack:
    """8-bit floats and float32 scales of the shape that `shape` gives."""

    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        scale = 0.01 + torch.rand(shape(matrix), generator=G)
        codes = (matrix.float() * 50).to(FP8)
        spread = scale[:, None] if scale.ndim == 1 and scale.numel() > 1 else scale
        return {"weight": codes, name: scale, **more}, (codes.float() * spread).to(matrix.dtype)

    return pack


def nvfp4(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """ModelOpt's: two codes in a byte, 8-bit scales of 16, one float32 for all."""
    rows, columns = matrix.shape
    codes = torch.randint(0, 16, (rows, columns), generator=G)
    scales = (0.1 + torch.rand(rows, columns // 16, generator=G)).to(FP8)
    outer = torch.tensor(0.0123)
    signs = torch.where(codes > 7, -1.0, 1.0)
    values = torch.from_numpy(E2M1)[codes % 8] * signs
    numbers = values * (scales.float() * outer).repeat_interleave(16, 1)
    packed = (codes[:, ::2] | codes[:, 1::2] << 4).to(torch.uint8)
    parts = {"weight": packed, "weight_scale": scales, "weight_scale_2": outer, "input_scale": torch.tensor(0.5)}
    return parts, numbers.to(matrix.dtype)


def per_tensor(matrix: Tensor) -> tuple[int, ...]:
    return ()


def per_row(matrix: Tensor) -> tuple[int, ...]:
    return (matrix.shape[0], 1)


def mxfp4(experts: int = 3, rows: int = 10, blocks: int = 2) -> tuple[dict[str, Tensor], Tensor]:
    """Random codes, and the numbers that the definition of the format gives them: [E, in, out]."""
    codes = torch.randint(0, 16, (experts, rows, blocks, 32), generator=G)
    powers = torch.randint(100, 140, (experts, rows, blocks), generator=G)
    powers[0, 0, 0] = 0
    values = torch.from_numpy(E2M1).double()[codes % 8] * torch.where(codes > 7, -1.0, 1.0).double()
    numbers = (values * 2.0 ** (powers.double()[..., None] - 127)).flatten(2).transpose(1, 2)
    packed = (codes[..., ::2] | codes[..., 1::2] << 4).to(torch.uint8)
    name = "model.layers.0.mlp.experts.gate_up_proj"
    return {f"{name}_blocks": packed, f"{name}_scales": powers.to(torch.uint8)}, numbers.bfloat16()


def chatglm(bits: int) -> Pack:
    """ChatGLM's own: a scale per row in half precision; of 4 bits two signed numbers in a byte, the higher first."""

    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        top = 2 ** (bits - 1) - 1
        scale = (matrix.float().abs().amax(1) / top).half()
        codes = (matrix.float() / scale.float()[:, None]).round().clamp(-top - 1, top).to(torch.int8)
        numbers = codes.half() * scale[:, None]
        packed = codes if bits == 8 else ((codes[:, ::2].int() & 15) << 4 | codes[:, 1::2].int() & 15)
        return {
            "weight": packed.to(torch.uint8).view(torch.int8) if bits == 4 else packed,
            "weight_scale": scale,
        }, numbers

    return pack


def int4(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """compressed-tensors' layout: a code plus 8 in each 4 bits of a row, from the lowest; a scale per group."""
    rows, columns = matrix.shape
    scales = (matrix.float().reshape(rows, -1, 32).abs().amax(-1) / 7).bfloat16()
    spread = scales.repeat_interleave(32, 1)
    codes = (matrix.float() / spread.float()).round().clamp(-8, 7)
    packed = words((codes + 8).long().numpy().T, 4).T.contiguous()
    sizes = torch.tensor([rows, columns])
    return {"weight_packed": packed, "weight_scale": scales, "weight_shape": sizes}, codes.bfloat16() * spread
