"""Layers whose matrices stay packed: small integers and scales, or the parts that lie in a file."""

from zoo.nn.packed.from_file import FilePart, OfFile
from zoo.nn.packed.integers import Int4Groups, Int8Rows
from zoo.nn.packed.linear import PackedLinear
from zoo.nn.packed.placing import (
    PackedEmbedding,
    PackedStack,
    can_be_packed,
    is_packable_table,
    packed_layers,
    put_packed,
)

__all__ = [
    "FilePart", "Int4Groups", "Int8Rows", "OfFile", "PackedEmbedding", "PackedLinear", "PackedStack", "can_be_packed",
    "is_packable_table", "packed_layers", "put_packed",
]  # fmt: skip
