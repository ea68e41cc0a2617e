"""Layers whose matrices stay packed: small integers and scales, or the parts that lie in a file."""

from zoo.nn.packed.from_file import FilePart, OfFile
from zoo.nn.packed.integers import Int4Groups, Int8Rows
from zoo.nn.packed.linear import PackedLinear
from zoo.nn.packed.placing import PackedStack, can_be_packed, packed_layers, put_packed

__all__ = [
    "FilePart", "Int4Groups", "Int8Rows", "OfFile", "PackedLinear", "PackedStack", "can_be_packed", "packed_layers",
    "put_packed",
]  # fmt: skip
