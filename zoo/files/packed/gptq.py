"""Weights as GPTQ's tools store them (arXiv:2210.17323; AutoGPTQ, GPTQModel): integers in words of 32 bits, by groups.

Of a matrix [out, in], `qweight` [in * bits / 32, out] holds the codes, `scales` [G, out] and `qzeros` [G, out * bits /
32] what belongs to each of the G groups of columns, and `g_idx` [in] the group of each column. The lowest bits come
first; codes of 3 bits run across the borders of words. The first format stores each zero point minus one, the second
(gptq_v2) as it is. A number is (code - zero) * scale, rounded to the type of the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.files.packed.keys import HINT, PackingKeys, excepted
from zoo.files.packed.numbers import fields, integers
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".qweight", ".qzeros", ".scales", ".g_idx")
BITS = (2, 3, 4, 8)
# How the file was made, or how it is run; none changes what it holds.
WITHOUT_EFFECT = (
    "damp_percent true_sequential static_groups model_name_or_path model_file_base_name tokenizer dataset batch_size "
    "block_name_to_quantize module_name_preceding_first_block modules_in_block_to_quantize use_cuda_fp16 "
    "model_seqlen pad_token_id use_exllama disable_exllama exllama_config cache_block_outputs max_input_length backend "
    "meta lm_head damp_auto_increment mse act_group_aware hyb_act quantizer parallel_packing device vram_strategy "
    "offload_to_disk offload_to_disk_path compute_device_filter auto_forward_data_parallel gc_mode "
    "wait_for_submodule_finalizers autoround_version iters lr minmax_lr enable_minmax_tuning enable_quanted_input "
    "nsamples seqlen low_gpu_mem_usage scale_dtype gradient_accumulate_steps train_bs amp quant_block_list"
).split()


@dataclass(frozen=True)
class GroupedIntegers:
    """What the config says of all matrices; None where its `dynamic` gives some of them others, and files tell."""

    bits: int | None
    group_size: int | None  # -1: all columns
    symmetric: bool
    format: str
    is_ordered: bool
    is_of_gptqmodel: bool = False


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    said = _settings(keys)
    file = PartsOfFile(tensors)
    matrices = {f"{m}.weight": matrix(file, m, said, config) for m in file.ending(".qweight")}
    file.refuse_left(SUFFIXES)
    listed = keys.names("modules_to_not_convert")
    # The tools write a bias, all 0, for every matrix that had none.
    spare = frozenset({name.removesuffix("weight") + "bias" for name in matrices} & tensors.keys())
    notes = tuple(excepted(listed, matrices, keys))
    return Packing(frozenset({keys.name}), matrices, spare=spare, notes=notes)


def _settings(keys: PackingKeys) -> GroupedIntegers:
    bits = keys.number("bits", None, among=BITS)
    size = keys.get("group_size", 128)
    if size != -1:
        size = keys.number("group_size", 128)
    symmetric = keys.flag("sym", True) and keys.raw.get("sym") is not None  # files of old tools say nothing
    format = keys.word("checkpoint_format", "gptq", among=("gptq", "gptq_v2"))
    if keys.word("format", format, among=("gptq", "gptq_v2")) != format:
        raise keys.refuse("format", f"is not {format!r}, which checkpoint_format says")
    if keys.get("pack_dtype", "int32") != "int32":
        raise keys.refuse("pack_dtype", "zoo reads codes in words of 32 bits", hint=HINT)
    for key, only in (("data_type", "int"), ("method", "gptq")):
        if key in keys.raw:
            keys.word(key, only, among=(only,))
    ordered = keys.flag("desc_act", False)
    keys.pass_over(*WITHOUT_EFFECT)
    is_of_gptqmodel = "gptqmodel" in f"{keys.get('meta')} {keys.get('quantizer')}".lower()
    own = keys.get("dynamic")
    each = own.values() if isinstance(own, dict) else ()
    symmetric = symmetric and not any(isinstance(one, dict) and "sym" in one for one in each)
    keys.check()
    sizes = (None, None) if own else (bits, size)
    return GroupedIntegers(*sizes, symmetric, format, ordered, is_of_gptqmodel)


def matrix(file: PartsOfFile, module: str, said: GroupedIntegers, config: Mapping[str, Any]) -> PackedMatrix:
    """The matrix of one module. Raises CheckpointError for parts that do not fit together."""
    name = f"{module}.weight"
    codes, zeros, scales = (file.take(f"{module}.{part}", name) for part in ("qweight", "qzeros", "scales"))
    order = file.maybe(f"{module}.g_idx", name)
    for info in (codes, scales):
        if len(info.shape) != 2:
            raise CheckpointError(info.file, info.name, f"is {list(info.shape)}, not a matrix")
    columns = _columns(codes, order, said)
    bits = said.bits or 32 * codes.shape[0] // max(1, columns)
    if bits not in BITS:
        raise CheckpointError(codes.file, codes.name, f"holds codes of {bits} bits, not 2, 3, 4 or 8")
    groups, rows = scales.shape
    size = said.group_size or (ceil_div(columns, groups) if groups else 0)
    size = columns if size == -1 else size
    what = f"a matrix of {[rows, columns]} in {bits} bits, groups of {size}"
    expect(codes, ("int32",), (columns * bits // 32, rows), of=what)
    expect(scales, FLOATS, (ceil_div(columns, size) if size else 0, rows), of=what)
    expect(zeros, ("int32",), (groups, rows * bits // 32), of=what)
    if bits == 3 and said.is_of_gptqmodel and not said.symmetric and said.format == "gptq":
        why = "GPTQModel takes other numbers from the zero points of 3 bits than the first format says"
        raise CheckpointError(zeros.file, zeros.name, "is not read the same by any two tools", why=why, hint=HINT)
    if columns * bits % 32 or rows * bits % 32:
        raise CheckpointError(codes.file, codes.name, f"{what} does not fill words of 32 bits")
    parts = {"codes": codes, "zeros": zeros, "scales": scales, **({"order": order} if order else {})}
    encoding = _encoding(said, bits, size, is_whole=size == columns, has_order=order is not None)
    band = band_of_middle if said.symmetric else band_of_words
    return PackedMatrix(name, (rows, columns), shown_dtype(config, scales.dtype), encoding, parts, band)


def _columns(codes: TensorInfo, order: TensorInfo | None, said: GroupedIntegers) -> int:
    """How many columns a matrix has: as many as its list of groups, else as its codes fill."""
    if order is not None:
        if len(order.shape) != 1 or order.dtype not in ("int32", "int64"):
            raise CheckpointError(order.file, order.name, f"is {order.dtype} {list(order.shape)}, not a list of groups")
        return order.numel
    if said.is_ordered or said.bits is None:
        raise CheckpointError(
            codes.file, codes.name, "is packed, and g_idx, which gives its columns' groups, is missing"
        )
    return codes.shape[0] * 32 // said.bits


def _encoding(said: GroupedIntegers, bits: int, size: int, *, is_whole: bool, has_order: bool) -> Encoding:
    words = (
        f"GPTQ{' v2' if said.format == 'gptq_v2' else ''}, {bits} bits, "
        f"{'one group per row' if is_whole else f'groups of {size}'}, symmetric: {'yes' if said.symmetric else 'no'}"
        f"{', columns ordered by activation' if said.is_ordered else ''}"
    )
    settings = {"zero_offset": 0 if said.format == "gptq_v2" else 1, "packed_along": "in"}
    return Encoding("gptq", "int", bits, (1, size), said.symmetric, has_order, words, settings)


def band_of_words(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Some rows of [out, in], which are columns of the parts. [R, C]"""
    bits, offset = matrix.encoding.bits, int(matrix.encoding.settings["zero_offset"])
    codes = fields(parts["codes"][:, rows].T, bits)
    zeros = fields(parts["zeros"], bits)[:, rows].T
    if offset and bool((zeros == (1 << bits) - 1).any()):
        why = f"it is -1, which stands for zero point 0; some tools read {1 << bits} there"
        raise matrix.refuse(
            "zeros", f"has a stored zero point of {(1 << bits) - 1}, which no two tools read alike", why=why
        )
    turned = {**parts, "scales": parts["scales"].T}
    return integers(matrix, turned, rows, codes=codes, zeros=zeros.float() + offset)


def band_of_middle(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """As `band_of_words`, of symmetric codes: their zero points are the middle, and in a wrong format beside it."""
    bits, offset = matrix.encoding.bits, int(matrix.encoding.settings["zero_offset"])
    zeros = fields(parts["zeros"], bits)[:, rows]
    if offset and bits == 3 and _is_middle_less_ones(zeros, rows.start):
        turned = {**parts, "scales": parts["scales"].T}
        return integers(matrix, turned, rows, codes=fields(parts["codes"][:, rows].T, bits), zeros=4)
    if bool((zeros.float() + offset != 1 << (bits - 1)).any()):
        why = f"in {bits} bits it is {1 << (bits - 1)}, and the layout that the config names stores it minus {offset}"
        raise matrix.refuse("zeros", "has zero points beside the middle, and the config says symmetric", why=why)
    return band_of_words(matrix, parts, rows)


def _is_middle_less_ones(zeros: Tensor, first: int) -> bool:
    """Whether these zero points [G, R], of the rows from `first`, are what GPTQModel writes for the middle in 3 bits.

    For the first format it takes ones from three words that hold 32 codes, and few of them are the lowest of a code's
    bits; reading, it gives them back. In 2, 4 and 8 bits each code is less by one, as the format says.
    """
    import torch

    left = torch.tensor([0] * 10 + [4] + [3] * 11 + [2] * 10, device=zeros.device)
    return bool((zeros == left[(torch.arange(zeros.shape[1], device=zeros.device) + first) % 32]).all())
