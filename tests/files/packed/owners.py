"""Matrices packed, and unpacked, by the packages whose formats they are: what zoo must agree with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Pack = Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]]  # a module's matrix to its parts and their numbers
TYPES = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}


def compressed_tensors(format: str, **weights: Any) -> Pack:
    """The package's own compressor of `format`: a matrix's parts, and what it unpacks them to."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    args = QuantizationArgs(**weights)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    compressor = BaseCompressor.get_value_from_registry(format)

    def ranges(matrix: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = matrix.shape
        if args.strategy in ("group", "tensor_group"):
            grouped = matrix.reshape(rows, -1, args.group_size)
            return grouped.amin(-1), grouped.amax(-1)
        if args.strategy == "block":
            r, c = args.block_structure
            padded = torch.nn.functional.pad(matrix, (0, -columns % c, 0, -rows % r))
            blocks = padded.reshape(padded.shape[0] // r, r, padded.shape[1] // c, c)
            return blocks.amin((1, 3)), blocks.amax((1, 3))
        dim = (0, 1) if args.strategy == "tensor" else 1
        low, high = matrix.amin(dim), matrix.amax(dim)
        return (low.reshape(1), high.reshape(1)) if args.strategy == "tensor" else (low[:, None], high[:, None])

    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        low, high = ranges(matrix)
        state: dict[str, Tensor] = {"weight": matrix}
        if format.startswith("nvfp4"):
            state["weight_global_scale"] = generate_gparam(matrix.amin().reshape(1), matrix.amax().reshape(1))
        scale, zero = calculate_qparams(low, high, args, global_scale=state.get("weight_global_scale"))
        state |= {"weight_scale": scale, "weight_zero_point": zero}
        state = compressor.compress(state, scheme)
        return state, compressor.decompress(dict(state), scheme)["weight"]

    return pack


def compressed_tensors_config(format: str, activations: dict[str, Any] | None = None, **weights: Any) -> dict[str, Any]:
    """A quantization_config as the package writes it."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quant_method": "compressed-tensors", "format": format, "quantization_status": "compressed",
        "config_groups": {"group_0": group}, "ignore": ["lm_head"], "kv_cache_scheme": None, "sparsity_config": {},
        "transform_config": {}, "global_compression_ratio": None, "version": "0.20.1",
    }  # fmt: skip


def plainly(codes: Tensor, state: Any) -> Tensor:
    """The package's own kernel in plain torch: its AVX-512 kernel errs where a block runs on into the next row."""
    from bitsandbytes import functional
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute

    scales = state.absmax
    if state.nested:
        scales = functional.dequantize_blockwise(scales, state.state2) + state.offset
    line = codes.contiguous().view(torch.uint8).reshape(-1)
    with torch.compiler.set_stance("force_eager"):
        return _dequantize_4bit_compute(line, scales, state.code, state.blocksize, state.shape, state.dtype)


def bitsandbytes_4(kind: str, size: int = 64, *, nested: bool = True, storage: torch.dtype = torch.uint8) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        from bitsandbytes import functional

        codes, state = functional.quantize_4bit(
            matrix, blocksize=size, quant_type=kind, compress_statistics=nested, quant_storage=storage
        )
        parts = {f"weight.{name}": value for name, value in state.as_dict(packed=True).items()}
        return parts | {"weight": codes}, plainly(codes, state)

    return pack


def bitsandbytes_8(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    from bitsandbytes import functional

    codes, scales, _ = functional.int8_vectorwise_quant(matrix)
    unpacked = functional.int8_vectorwise_dequant(codes, scales).to(matrix.dtype)
    return {"weight": codes, "SCB": scales, "weight_format": torch.tensor(0, dtype=torch.uint8)}, unpacked


def to_torch(array: Any) -> Tensor:
    """The same bits; MLX and numpy share no bfloat16."""
    import mlx.core as mx

    kind = getattr(torch, str(array.dtype).removeprefix("mlx.core."))
    if kind.itemsize == 2:
        return torch.tensor(memoryview(array.view(mx.uint16)).tolist(), dtype=torch.uint16).view(kind)
    return torch.tensor(memoryview(array).tolist(), dtype=kind)


def mlx(**settings: Any) -> Pack:
    def pack(module: str, matrix: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        import mlx.core as mx

        array = mx.array(matrix.float().numpy()).astype(getattr(mx, TYPES[matrix.dtype]))
        parts = mx.quantize(array, **settings)
        unpacked = to_torch(mx.dequantize(*parts, **settings))
        return dict(zip(("weight", "scales", "biases"), map(to_torch, parts), strict=False)), unpacked

    return pack
