"""Which share a rank has: arithmetic, and what is refused before anything is read."""

from __future__ import annotations

import pytest
import torch

import zoo
from zoo.anatomy.cuts import COLUMNS, EXPERTS, ROWS, SHARED, dimension
from zoo.errors import UsageError
from zoo.parallel.declared import needs_of
from zoo.parallel.layout import Layout, layout_of
from zoo.parallel.shares import bounds, check


@pytest.mark.parametrize(("length", "ranks"), [(61, 2), (61, 4), (8, 8), (3, 5), (1, 2), (9, 4)])
def test_rows_are_parted_as_torch_parts_them(length: int, ranks: int) -> None:
    chunks = [chunk.tolist() for chunk in torch.arange(length).chunk(ranks)]
    chunks += [[]] * (ranks - len(chunks))
    assert [[*range(*bounds(length, ranks, rank))] for rank in range(ranks)] == chunks


def test_a_bias_of_what_is_cut_by_columns_is_whole() -> None:
    assert [dimension(by, 2) for by in (ROWS, COLUMNS, EXPERTS, SHARED)] == [0, 1, 0, None]
    assert [dimension(by, 1) for by in (ROWS, COLUMNS)] == [0, None]
    assert [dimension(by, 3) for by in (ROWS, COLUMNS, EXPERTS)] == [1, 2, 0]  # stacked experts


@pytest.mark.parametrize(
    ("preset", "good", "bad", "words"),
    [
        # 32 heads, 8 of keys, 14336 wide: 16 and 32 ranks share the key heads
        ("llama3.1-8b", (1, 2, 4, 8, 16, 32), 3, "num_heads has 32, num_kv_heads has 8, "),
        ("smollm2-135m", (1, 3), 2, "num_heads has 9, num_kv_heads has 3"),
        ("gpt2", (1, 2, 3, 4, 6, 12), 5, "num_heads has 12"),
    ],
)
def test_what_cannot_be_cut_is_refused_with_the_sizes_that_work(
    preset: str, good: tuple[int, ...], bad: int, words: str
) -> None:
    needs = needs_of(zoo.build(preset, "model.num_layers=1"))
    for ranks in good:
        check(needs, ranks, "tp")
    with pytest.raises(UsageError) as refused:
        check(needs, bad, "tp")
    assert words in str(refused.value)
    assert f"sizes that work: {', '.join(map(str, good))}" in str(refused.value)


def test_a_layout_is_read_from_words() -> None:
    assert layout_of(["parallel.tp=2", "parallel.dp=3"]) == Layout(tp=2, dp=3)
    assert Layout(tp=2, dp=3).num_ranks == 6
    assert str(Layout(tp=2)) == "parallel.tp=2"
    assert layout_of(["parallel.tp=2", "parallel.sp=True"]) == Layout(tp=2, sp=True)
    assert str(Layout(tp=2, sp=True)) == "parallel.tp=2 parallel.sp=true"
    assert Layout(tp=2, sp=True).num_ranks == 2


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("parallel.pt=2", "'parallel.pt' is not a setting of parallel\ndid you mean: parallel."),
        ("parallel.sp=true", "and parallel.tp is 1\nadd parallel.tp=2"),
        ("parallel.sp=2", "parallel.sp='2' is not true or false"),
        ("parallel.tp=two", "parallel.tp='two' is not a number of ranks"),
        ("parallel.tp=0", "parallel.tp=0 is not from 1 to 65,536"),
        ("parallel.tp=-1", "parallel.tp='-1' is not a number of ranks"),
        ("parallel.tp=²", "is not a number of ranks"),
        ("parallel=2", "'parallel' is not a setting of parallel"),
    ],
)
def test_a_word_that_sets_nothing_is_refused(word: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        layout_of([word])
    assert words in str(refused.value)
