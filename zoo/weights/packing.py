"""What belongs to packed weights: numbers without which the others mean nothing, so nobody may wave them through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from zoo.files.tensor_info import TensorInfo

# Keys of a config that say how weights are packed.
KEYS = frozenset("quantization_config quantization quantize_config quant_config compression_config".split())

# Names, or parts of names, of the tensors that unpack others: GPTQ, AWQ, bitsandbytes, compressed-tensors, fp8, AQLM.
_UNPACKS = re.compile(
    r"(?:^|[._])(?:q?scales?|scale_inv|q?zeros|zero_points?|g_idx|qweight|weight_packed|absmax|nested_absmax|quant_map"
    r"|nested_quant_map|quant_state|scb|codebooks?|codes|bitsandbytes\w*)(?:$|[._])",
    re.IGNORECASE,
)


def unpacks(name: str) -> bool:
    """Whether a tensor's name says that it scales, shifts or unpacks another one."""
    return _UNPACKS.search(name) is not None


def eight_bits(tensors: Mapping[str, TensorInfo], names: Iterable[str]) -> list[str]:
    """Those of `names` that are stored as floats of 8 bits, with no scale that a reader would have undone."""
    return [name for name in names if tensors[name].dtype.startswith("float8")]
