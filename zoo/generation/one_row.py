"""Products of one row with a matrix, in a step that is compiled: sums, fused with what stands around them.

A library's product of one row reads a matrix at a part of the rate that memory has, and costs a call. What is compiled
from a sum reads it as fast as any other pass over it, if what is summed lies end to end. Where it does not, as in
GPT-2, whose matrices lie the other way, and where there are several rows, the library is the faster.

Shapes: D inner, R rows of the matrix as a layer holds it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

aten, cast = torch.ops.aten, torch.ops.prims.convert_element_type.default
PRODUCTS = aten.mm.default, aten.addmm.default
SUMMED_IN = {torch.bfloat16: torch.float32, torch.float16: torch.float32}  # as a library sums them


class OneRow(CustomGraphPass):
    """Writes each product [1, D] x [D, R] of floating-point numbers on a CPU as a sum over D, which lies end to end."""

    def __call__(self, graph: fx.Graph) -> None:
        for node in [*graph.nodes]:
            if node.op == "call_function" and node.target in PRODUCTS and not node.kwargs and _is_of_one_row(node):
                with graph.inserting_before(node):
                    made = _sum(graph, node)
                node.replace_all_uses_with(made)
                graph.erase_node(node)

    def uuid(self) -> Any:
        """What torch tells graphs apart by that it keeps in files."""
        return get_hash_for_files((__file__,))


def _is_of_one_row(node: fx.Node) -> bool:
    out: Tensor = node.meta["val"]
    size: Any = out.shape[0]  # a size that may change is no int
    if not (isinstance(size, int) and size == 1 and out.device.type == "cpu" and out.is_floating_point()):
        return False
    *_, matrix = node.args
    return matrix.meta["val"].stride(0) == 1  # pyrefly: ignore[missing-attribute]


def _sum(graph: fx.Graph, node: fx.Node) -> fx.Node:
    *bias, row, matrix = node.args
    dtype = node.meta["val"].dtype
    wide = SUMMED_IN.get(dtype, dtype)

    def call(target: Any, *args: Any) -> fx.Node:
        made = graph.call_function(target, args)
        made.meta["val"] = target(*(arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args))
        return made

    def widened(number: Any) -> Any:
        return number if wide is dtype else call(cast, number, wide)

    as_held = call(aten.permute.default, matrix, [1, 0])  # [R, D]
    out = call(aten.sum.dim_IntList, call(aten.mul.Tensor, widened(as_held), widened(row)), [1])
    out = call(aten.unsqueeze.default, out, 0)
    if bias:
        out = call(aten.add.Tensor, out, widened(bias[0]))
    return out if wide is dtype else call(cast, out, dtype)
