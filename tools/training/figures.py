"""The figures of docs/*/training.md that need a run: preferences and rewards on `tiny`.

    python tools/training/figures.py OUT

prints what each run began and ended with; OUT takes the data and the runs' folders. A few minutes on one core.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from zoo.training.running.beginning import TrainingJob, train
from zoo.training.settings import Recipe

WHO = ("Emma", "Anne", "Elizabeth", "Mr. Darcy", "the captain", "his sister", "her father", "the young lady")
HOW = ("happy", "sorry", "pleased", "ready", "certain", "glad", "alone", "at home")
DPO: dict[str, Any] = {"name": "dpo", "kind": "dpo", "beta": 0.1, "smoothing": 0.0}
GRPO: dict[str, Any] = {
    "name": "grpo", "reward": "regex", "pattern": "[,;]", "target": None, "group": 8, "max_new_tokens": 12,
    "temperature": 1.0, "clip": 0.2, "beta": 0.04,
}  # fmt: skip


def main() -> None:
    """Run both, and print a line for each."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    print(told("dpo", "margin", preferred(out), ("margin", "accuracy", "loss")))
    print(told("grpo", "reward", rewarded(out), ("reward", "loss")))


def preferred(out: Path) -> list[dict[str, float]]:
    """DPO: of two ends of a sentence the positive one is preferred."""
    rows = [{"prompt": f"{who} was very", "chosen": f" {how}.", "rejected": f" un{how}."} for who in WHO for how in HOW]
    return records(out, "dpo", rows, DPO, lr=1e-4, steps=40)


def rewarded(out: Path) -> list[dict[str, float]]:
    """GRPO: an answer with a comma or a semicolon in it is worth 1, another 0."""
    rows = [{"prompt": f"{who} was very {how}"} for who in WHO for how in HOW]
    return records(out, "grpo", rows, GRPO, lr=1e-4, steps=40)


def records(
    out: Path, name: str, rows: list[dict[str, str]], objective: dict[str, Any], *, lr: float, steps: int
) -> list[dict[str, float]]:
    """The metrics of a run on these rows."""
    file = out / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = Recipe.of({
        "train": {"steps": steps, "batch_size": 8}, "data": {"files": str(file)}, "objective": objective,
        "optimizer": {"name": "adamw", "lr": lr, "betas": [0.9, 0.95], "weight_decay": 0.0},
        "schedule": {"name": "constant"},
    })  # fmt: skip
    run, _ = train(TrainingJob(recipe, str(out / name), source="tiny"), force=True)
    return run.folder.records()


def told(name: str, risen: str, found: list[dict[str, float]], columns: tuple[str, ...]) -> str:
    """The means over the first and the last five steps."""
    spans = [", ".join(f"{c} {mean(r[c] for r in part):.3f}" for c in columns) for part in (found[:5], found[-5:])]
    return f"{name}: {risen} rises: {spans[0]} -> {spans[1]}"


if __name__ == "__main__":
    main()
