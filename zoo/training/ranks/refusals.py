"""What does not run over several ranks, said by name before anything is read."""

from __future__ import annotations

from zoo.errors import UsageError
from zoo.parallel.layout import Layout
from zoo.training.objectives.pictured import PicturedAnswers
from zoo.training.settings import Recipe

ALONE = {  # objectives, and why one rank cannot do its part of them
    "clip": "each pair is told from all others of its pass",
    "grpo": "answers are drawn and judged in one process",
    "reward": "the head beside the model is not spread",
}


def check_over_ranks(recipe: Recipe, layout: Layout) -> None:
    """Raise UsageError for a recipe that one process runs, and several do not."""
    t, name = recipe.train, recipe.objective["name"]
    if name in ALONE:
        _refuse(f"objective={name}", layout, ALONE[name])
    if recipe.stages:
        hint = "train the stages one after the other: zoo train RUN … save=NEXT"
        _refuse("stages", layout, "a model that is spread stays as it is frozen", hint)
    if t.compile:
        _refuse("train.compile", layout, "a model is compiled whole")
    if layout.dp > t.batch_size:
        what = f"train.batch_size={t.batch_size} rows cannot be divided over parallel.dp={layout.dp} ranks"
        raise UsageError(what, hint="it counts the rows of all ranks together: give each at least one")
    if recipe.lora.rank is None:
        return
    if layout.tp > 1:
        _refuse("lora", layout, "its factors are not cut", "parallel.dp spreads what stands beside the weights too")
    if t.ema is not None or t.patience is not None:
        _refuse("lora with train.ema or train.patience", layout, "its folder holds the factors as they are")
    if recipe.lora.kind != "lora":
        _refuse(f"lora.kind={recipe.lora.kind}", layout, "it reads the norms of weights that are spread")


def check_packed(layout: Layout) -> None:
    """Refuse an adapter beside packed weights."""
    _refuse("an adapter beside packed weights", layout, "FSDP2 spreads no packed matrix", "leave quantize= out")


def check_rows(objective: object, layout: Layout) -> None:
    """Raise UsageError for rows that cannot be told apart in a batch."""
    if isinstance(objective, PicturedAnswers):
        _refuse("objective=sft with pictures", layout, "rows have different numbers of them")


def _refuse(what: str, layout: Layout, why: str, hint: str = "leave parallel.* out") -> None:
    raise UsageError(f"{what} does not run over several ranks, and {layout} are {layout.num_ranks}", why=why, hint=hint)
