"""Weights as AWQ's tools store them (arXiv:2306.00978; AutoAWQ's GEMM layout): 4 bits, eight in a word of 32.

Of a matrix [out, in], `qweight` [in, out / 8] holds the codes, `scales` [G, out] and `qzeros` [G, out / 8] what belongs
to each of the G groups of columns. In a word, eight rows lie as 0, 2, 4, 6, 1, 3, 5, 7 from the lowest bits. A number
is (code - zero) * scale, rounded to the type of the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.files.packed.keys import HINT, PackingKeys, excepted
from zoo.files.packed.numbers import fields, integers
from zoo.files.packed.parts import FLOATS, PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".qweight", ".qzeros", ".scales")
PLACES = (0, 4, 1, 5, 2, 6, 3, 7)  # of rows 0 to 7 in a word, from the lowest bits
LAYOUTS = ("gemm", "exllama", "ipex")  # the second and third are ways to run the first
WITHOUT_EFFECT = "do_fuse fuse_max_seq_len modules_to_fuse exllama_config backend sym desc_act lm_head meta".split()


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    for own, theirs in (
        ("bits", "w_bit"),
        ("group_size", "q_group_size"),
        ("version", "format"),
        ("format", "checkpoint_format"),
    ):
        if own in keys.raw and theirs in keys.raw and _low(keys.raw[own]) != _low(keys.raw[theirs]):
            raise keys.refuse(theirs, f"is another value than {own}, and means the same")
    keys.number("bits" if "bits" in keys.raw else "w_bit", None, among=(4,))
    key = "group_size" if "group_size" in keys.raw else "q_group_size"
    size = -1 if keys.get(key) == -1 else keys.number(key, 128)
    has_zeros = keys.flag("zero_point", True)
    layout = next((key for key in ("version", "format", "checkpoint_format") if key in keys.raw), "version")
    if keys.word(layout, "gemm", among=(*LAYOUTS, *OTHERS)) in OTHERS:
        raise keys.refuse(layout, f"zoo reads the layouts {', '.join(LAYOUTS)}", hint=HINT)
    if keys.get("pack_dtype", "int32") != "int32":
        raise keys.refuse("pack_dtype", "zoo reads codes in words of 32 bits", hint=HINT)
    listed = keys.names("modules_to_not_convert")
    keys.pass_over(*WITHOUT_EFFECT, "w_bit", "q_group_size", "format", "version", "checkpoint_format")
    keys.check()
    file = PartsOfFile(tensors)
    matrices = {
        f"{module}.weight": matrix(file, module, size, has_zeros=has_zeros, config=config)
        for module in file.ending(".qweight")
    }
    file.refuse_left(SUFFIXES)
    return Packing(frozenset({keys.name}), matrices, notes=tuple(excepted(listed, matrices, keys)))


def _low(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


OTHERS = ("gemv", "gemv_fast", "marlin", "llm-awq")  # laid out for one kernel each


def matrix(file: PartsOfFile, module: str, size: int, *, has_zeros: bool, config: Mapping[str, Any]) -> PackedMatrix:
    """The matrix of one module. Raises CheckpointError for parts that do not fit together."""
    name = f"{module}.weight"
    codes, zeros, scales = (file.take(f"{module}.{part}", name) for part in ("qweight", "qzeros", "scales"))
    if len(codes.shape) != 2 or not codes.numel:
        raise CheckpointError(codes.file, codes.name, f"is {list(codes.shape)}, not a matrix")
    columns, rows = codes.shape[0], 8 * codes.shape[1]
    size = columns if size == -1 else size
    if columns % size:
        raise CheckpointError(codes.file, name, f"its {columns} columns are not whole groups of {size}")
    what = f"a matrix of {[rows, columns]} in 4 bits, groups of {size}"
    expect(codes, ("int32",), None, of=what)
    expect(scales, FLOATS, (columns // size, rows), of=what)
    expect(zeros, ("int32",), (columns // size, rows // 8), of=what)
    shared = "one group per row" if size == columns else f"groups of {size}"
    words = f"AWQ, 4 bits, {shared}, symmetric: {'no' if has_zeros else 'yes'}"
    encoding = Encoding("awq", "int", 4, (1, size), not has_zeros, words=words, settings={"packed_along": "out"})
    parts = {"codes": codes, "zeros": zeros, "scales": scales}
    return PackedMatrix(name, (rows, columns), shown_dtype(config, scales.dtype), encoding, parts, band_of_words)


def band_of_words(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Some rows of [out, in], which are columns of the parts, eight in a word. [R, C]"""
    first, last = rows.start // 8, -(-rows.stop // 8)

    def in_order(words: Tensor) -> Tensor:
        near = fields(words[:, first:last], 4)
        sorted_rows = near.reshape(near.shape[0], -1, 8)[..., list(PLACES)].flatten(1)
        return sorted_rows[:, rows.start - 8 * first :][:, : rows.stop - rows.start].T

    turned = {**parts, "scales": parts["scales"].T}
    return integers(matrix, turned, rows, codes=in_order(parts["codes"]), zeros=in_order(parts["zeros"]))
