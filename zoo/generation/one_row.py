"""Products of one row with a matrix, in a step that is compiled: sums, fused with what stands around them.

A library's product of one row reads a matrix at a part of the rate that memory has, and costs a call. What is compiled
from a sum reads it as fast as any other pass over it, if what is summed lies end to end. Where it does not, as in
GPT-2, whose matrices lie the other way, the library is the faster, but gives one thread the whole matrix: there each
has its share of D. Products of several rows are left to the library. Those in a type that no library multiplies in are
widened to float32 for one: within the graph where the matrix is small, and else a band at a time, outside it.

Shapes: D inner, R rows of the matrix as a layer holds it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from zoo.nn import halves
from zoo.nn.halves import BAND, is_slow
from zoo.nn.products import linear

aten, cast = torch.ops.aten, torch.ops.prims.convert_element_type.default
PRODUCTS = aten.mm.default, aten.addmm.default
SUMMED_IN = {torch.bfloat16: torch.float32, torch.float16: torch.float32}  # as a library sums them


@torch.library.custom_op("zoo::product_of_halves", mutates_args=())
def product_of_halves(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [M, D] times matrix [D, R] plus bias, as it is multiplied where nothing is compiled; a graph calls it."""
    return linear(x, matrix.mT, bias)


@product_of_halves.register_fake
def _(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    return x.new_empty(x.shape[0], matrix.shape[1])


class OneRow(CustomGraphPass):
    """Writes each product [1, D] x [D, R] of floating-point numbers on a CPU as a sum over D, or in parts of D.

    What no library multiplies in its type is widened, of any number of rows.
    """

    def __call__(self, graph: fx.Graph) -> None:
        for node in [*graph.nodes]:
            if node.op == "call_function" and node.target in PRODUCTS and not node.kwargs and _is_on_cpu(node):
                with graph.inserting_before(node):
                    made = _otherwise(graph, node)
                if made is not None:
                    node.replace_all_uses_with(made)
                    graph.erase_node(node)

    def uuid(self) -> Any:
        """What torch tells graphs apart by that it keeps in files."""
        return get_hash_for_files(
            (__file__, halves.__file__), extra=f"{torch.get_num_threads()} threads, {[*map(is_slow, SUMMED_IN)]}"
        )


def _otherwise(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """What is to be computed in the place of a product; None: the product."""
    is_of_one_row = _is_of_one_row(node)
    if is_of_one_row and _lies_end_to_end(node):
        return _sum(graph, node)
    if is_slow(node.meta["val"].dtype):
        return _widened(graph, node)
    return _parted(graph, node) if is_of_one_row else None


def _is_on_cpu(node: fx.Node) -> bool:
    out: Tensor = node.meta["val"]
    return out.device.type == "cpu" and out.is_floating_point()


def _is_of_one_row(node: fx.Node) -> bool:
    size: Any = node.meta["val"].shape[0]  # a size that may change is no int
    return isinstance(size, int) and size == 1


def _lies_end_to_end(node: fx.Node) -> bool:
    *_, matrix = node.args
    return matrix.meta["val"].stride(0) == 1  # pyrefly: ignore[missing-attribute]


def _sum(graph: fx.Graph, node: fx.Node) -> fx.Node:
    *bias, row, matrix = node.args
    dtype = node.meta["val"].dtype
    wide = SUMMED_IN.get(dtype, dtype)

    def widened(number: Any) -> Any:
        return number if wide is dtype else _call(graph, cast, number, wide)

    as_held = _call(graph, aten.permute.default, matrix, [1, 0])  # [R, D]
    out = _call(graph, aten.sum.dim_IntList, _call(graph, aten.mul.Tensor, widened(as_held), widened(row)), [1])
    out = _call(graph, aten.unsqueeze.default, out, 0)
    if bias:
        out = _call(graph, aten.add.Tensor, out, widened(bias[0]))
    return out if wide is dtype else _call(graph, cast, out, dtype)


def _parted(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """The sum of a product of each thread; None where that is one, or in a type whose sums would be rounded twice."""
    *bias, row, matrix = node.args
    held: Tensor = matrix.meta["val"]  # pyrefly: ignore[missing-attribute]
    length, rows = held.shape
    parts = next((n for n in range(torch.get_num_threads(), 1, -1) if length % n == 0), 1)
    if parts == 1 or held.dtype in SUMMED_IN or not held.is_contiguous():
        return None
    each = length // parts
    out = _call(
        graph, aten.bmm.default,
        _call(graph, aten.view.default, row, [parts, 1, each]),
        _call(graph, aten.view.default, matrix, [parts, each, rows]),
    )  # fmt: skip
    out = _call(graph, aten.sum.dim_IntList, out, [0])
    return _call(graph, aten.add.Tensor, out, bias[0]) if bias else out


def _widened(graph: fx.Graph, node: fx.Node) -> fx.Node:
    *bias, row, matrix = node.args
    if matrix.meta["val"].numel() > BAND:  # pyrefly: ignore[missing-attribute]
        return _call(graph, torch.ops.zoo.product_of_halves.default, row, matrix, *bias)
    out = _call(graph, aten.mm.default, *(_call(graph, cast, each, torch.float32) for each in (row, matrix)))
    if bias:
        out = _call(graph, aten.add.Tensor, out, _call(graph, cast, bias[0], torch.float32))
    return _call(graph, cast, out, node.meta["val"].dtype)


def _call(graph: fx.Graph, target: Any, *args: Any) -> fx.Node:
    made = graph.call_function(target, args)
    made.meta["val"] = target(*(arg.meta["val"] if isinstance(arg, fx.Node) else arg for arg in args))
    return made
