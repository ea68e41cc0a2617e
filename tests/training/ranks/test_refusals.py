"""What does not run over several ranks is refused by its name, and the reason, before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import job
from zoo.errors import UsageError
from zoo.parallel.layout import Layout
from zoo.training.objectives.pictured import PicturedAnswers
from zoo.training.ranks.refusals import check_over_ranks, check_packed, check_rows

LORA: dict[str, Any] = {"source": "tiny", "lora": {"rank": 2}}
CASES: dict[str, tuple[dict[str, Any], Layout, str, str]] = {
    "clip": ({"objective": {"name": "clip"}}, Layout(dp=2), "objective=clip", "each pair is told from all others"),
    "grpo": ({"objective": {"name": "grpo", "reward": "x.py:f"}}, Layout(dp=2), "objective=grpo", "drawn and judged"),
    "reward": ({"objective": {"name": "reward"}}, Layout(tp=2), "objective=reward", "the head beside the model"),
    "stages": ({"stages": [{"train": {"steps": 1}}]}, Layout(dp=2), "stages", "stays as it is frozen"),
    "compile": ({"train": {"compile": True}}, Layout(tp=2), "train.compile", "a model is compiled whole"),
    "rows": ({"train": {"batch_size": 3}}, Layout(dp=4), "train.batch_size=3 rows", "cannot be divided over"),
    "lora over tp": (LORA, Layout(tp=2), "lora does", "its factors are not cut"),
    "lora, a mean": (LORA | {"train": {"ema": 0.5}}, Layout(dp=2), "lora with train.ema or", "as they are"),
    "lora, the best": (
        LORA | {"train": {"patience": 2, "evaluate_every": 1}, "data": {"validation": "v.npy"}}, Layout(dp=2),
        "lora with train.ema or train.patience", "its folder holds the factors as they are",
    ),
    "dora": (LORA | {"lora": {"rank": 2, "kind": "dora"}}, Layout(dp=2), "lora.kind=dora", "the norms of weights"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_recipe_of_one_process_is_refused_over_several(case: str, tmp_path: Path) -> None:
    sections, layout, what, why = CASES[case]
    recipe = job(tmp_path / "run", tmp_path / "tokens.npy", **sections).recipe
    with pytest.raises(UsageError) as refused:
        check_over_ranks(recipe, layout)
    assert str(refused.value).startswith(what)
    assert why in str(refused.value)


def test_pictures_and_packed_weights_are_refused_over_several() -> None:
    with pytest.raises(UsageError, match="sft with pictures does not run over several ranks, and"):
        check_rows(PicturedAnswers.__new__(PicturedAnswers), Layout(dp=2))
    with pytest.raises(UsageError, match="an adapter beside packed weights does not run over several ranks"):
        check_packed(Layout(dp=2))
