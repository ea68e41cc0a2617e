"""The laws of ops: dump(load(x)) == x and load(dump(y)) == y bit for bit, and shapes say what load and dump do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from zoo.anatomy.records import Shape
from zoo.weights import Op, interleaved, reshape, rope_halves, same, split, split_heads, stack, transpose

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.uint8]
SIZES = st.integers(1, 4)


@dataclass
class Sample:
    """An op and shapes that it takes in."""

    op: Op
    theirs: list[Shape]

    def tensors(self, shapes: Sequence[Shape], dtype: torch.dtype) -> list[Tensor]:
        """Every bit pattern there is, NaNs with payloads among them."""
        width = torch.empty(0, dtype=dtype).element_size()
        raw = [torch.randint(256, (*shape, width), dtype=torch.uint8) for shape in shapes]
        return [x.view(dtype).reshape(shape) for x, shape in zip(raw, shapes, strict=True)]


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Any op of the library, on shapes of rank 1 to 3 that it takes."""
    rest = tuple(draw(st.lists(SIZES, max_size=2)))
    a, b, c = draw(SIZES), draw(SIZES), draw(SIZES)
    kinds = "same transpose split stack split_heads interleaved rope_halves reshape".split()
    kind = draw(st.sampled_from(kinds))
    match kind:
        case "same":
            return Sample(same, [(a, *rest), (b,)])
        case "transpose":
            return Sample(transpose, [(a, *rest), (b, c)])
        case "split":
            dim = draw(st.sampled_from(range(-1 - len(rest), 1 + len(rest))))
            shape = [*rest, 0]
            shape[-1] = draw(SIZES)
            shape[dim] = a + b + c
            return Sample(split(a, b, c, dim=dim), [tuple(shape)])
        case "stack":
            dim = draw(st.sampled_from(range(-1 - len(rest), 1 + len(rest))))
            return Sample(stack(a, dim), [rest] * a)
        case "split_heads":
            return Sample(split_heads(a, b, c), [(a * (b + c), *rest)])
        case "interleaved":
            dim = draw(st.integers(0, len(rest)))
            return Sample(interleaved(b, dim), [(*rest[:dim], a * b, *rest[dim:])])
        case "rope_halves":
            skip, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            return Sample(rope_halves(a, 2 * b, skip=skip), [(a * (skip + 2 * b + after), *rest)])
    return Sample(reshape((a, b * c), (c, a, b)), [(c, a, b)])


@st.composite
def chains(draw: st.DrawFn) -> Sample:
    """An op, its inverse, or one after another that takes what the first gives."""
    first = draw(samples())
    match draw(st.sampled_from(["plain", "inverted", "same after", "transposed after", "undone"])):
        case "inverted":
            return Sample(~first.op, first.op.our_shapes(first.theirs))
        case "same after":
            return Sample(same >> first.op >> same, first.theirs)
        case "transposed after":
            return Sample(first.op >> transpose, first.theirs)
        case "undone":
            return Sample(first.op >> ~first.op, first.theirs)
    return first


def bits(x: Tensor) -> bytes:
    return torch.empty(x.shape, dtype=x.dtype).copy_(x).flatten().view(torch.uint8).numpy().tobytes()


def same_bits(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return [(x.shape, x.dtype, bits(x)) for x in a] == [(y.shape, y.dtype, bits(y)) for y in b]


@given(chains(), st.sampled_from(DTYPES))
def test_dump_undoes_load_and_load_undoes_dump_bit_for_bit(sample: Sample, dtype: torch.dtype) -> None:
    x = sample.tensors(sample.theirs, dtype)
    kept = [t.clone() for t in x]
    assert same_bits(sample.op.dump(sample.op.load(x)), x)
    y = sample.tensors(sample.op.our_shapes(sample.theirs), dtype)
    assert same_bits(sample.op.load(sample.op.dump(y)), y)
    assert same_bits(x, kept)  # and what was given is left alone


@given(chains())
def test_shapes_say_what_load_and_dump_do(sample: Sample) -> None:
    x = sample.tensors(sample.theirs, torch.float32)
    ours = sample.op.our_shapes(sample.theirs)
    assert [tuple(t.shape) for t in sample.op.load(x)] == ours
    assert sample.op.shapes(ours) == sample.theirs
    y = sample.tensors(ours, torch.float32)
    assert [tuple(t.shape) for t in sample.op.dump(y)] == sample.theirs


@given(chains())
def test_no_number_is_lost_or_repeated(sample: Sample) -> None:
    sizes = [torch.Size(shape).numel() for shape in sample.theirs]
    x = [t.reshape(s) for t, s in zip(torch.arange(sum(sizes)).split(sizes), sample.theirs, strict=True)]
    loaded = torch.cat([t.flatten() for t in sample.op.load(x)])
    assert loaded.sort().values.tolist() == list(range(sum(sizes)))


@given(samples())
def test_inverting_twice_changes_nothing(sample: Sample) -> None:
    x = sample.tensors(sample.theirs, torch.float32)
    assert same_bits((~~sample.op).load(x), sample.op.load(x))


def numbered(*shape: int) -> Tensor:
    return torch.arange(torch.Size(shape).numel()).reshape(shape)


def test_transpose_swaps_the_last_two_and_spares_biases() -> None:
    matrix, bias, experts = transpose.load([numbered(2, 3), numbered(3), numbered(4, 2, 3)])
    assert matrix.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert bias.tolist() == [0, 1, 2]
    assert experts.shape == (4, 3, 2)


def test_split_lays_ours_end_to_end_in_theirs() -> None:
    q, k, v = split(4, 2, 2).load([numbered(8, 1)])
    assert [x.flatten().tolist() for x in (q, k, v)] == [[0, 1, 2, 3], [4, 5], [6, 7]]
    gate, up = split(1, 2, dim=-1).load([numbered(2, 3)])
    assert (gate.tolist(), up.tolist()) == ([[0], [3]], [[1, 2], [4, 5]])


def test_interleaved_takes_slices_in_turn() -> None:
    gate, up = interleaved(2, 1).load([torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])])
    assert gate.tolist() == [[0, 2], [4, 6]]
    assert up.tolist() == [[1, 3], [5, 7]]


def test_split_heads_takes_each_groups_turn() -> None:
    """BLOOM's query_key_value: q0 k0 v0 q1 k1 v1 ..., here with heads of 2, 1 and 1 channels."""
    q, k, v = split_heads(2, 2, 1, 1).load([numbered(8)])
    assert (q.tolist(), k.tolist(), v.tolist()) == ([0, 1, 4, 5], [2, 6], [3, 7])


def test_rope_halves_is_metas_permutation_undone() -> None:
    """Against the line of the conversion script of transformers: view(H, hd/2, 2, D).transpose(1, 2)."""
    w = numbered(2 * 6, 5)
    assert torch.equal(rope_halves(2, 6).load([w])[0], w.view(2, 3, 2, 5).transpose(1, 2).reshape(12, 5))


def test_rope_halves_leaves_channels_that_do_not_turn() -> None:
    rows = rope_halves(2, 4, skip=1).load([numbered(2 * 6)])[0]
    assert rows.tolist() == [0, 1, 3, 2, 4, 5, 6, 7, 9, 8, 10, 11]


def test_interleaved_weights_become_halved_ones_that_turn_alike() -> None:
    """The op and the two layouts of zoo.nn.Rope are one statement."""
    from zoo.anatomy.config import RopeConfig
    from zoo.nn import Rope

    halves, pairs = (Rope(6, RopeConfig(), 9, is_interleaved=i) for i in (False, True))
    weight, x = torch.randn(12, 8, dtype=torch.float64), torch.randn(1, 5, 8, dtype=torch.float64)

    def scores(rope: Rope, w: Tensor) -> Tensor:
        q = rope.rotate((x @ w.T).unflatten(-1, (2, 6)), rope(torch.arange(5)[None], torch.float64))
        return torch.einsum("btnh,bsnh->bnts", q, q)

    ours = rope_halves(2, 6).load([weight])[0]
    assert torch.allclose(scores(pairs, weight), scores(halves, ours), rtol=0, atol=1e-12)
    assert not torch.allclose(scores(pairs, weight), scores(halves, weight), rtol=0, atol=1e-2)


def test_reshape_refuses_another_number_of_elements() -> None:
    with pytest.raises(AssertionError):
        reshape((2, 3), (7,))


def test_ops_say_what_they_do() -> None:
    assert str(split(1, 2) >> transpose) == "split(1, 2) >> transpose"
    assert str(~rope_halves(8, 64)) == "~rope_halves(8 x 64)"
