"""Runs that two ranks make as one process does: how the ranks are laid out, and the sections of each run."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from tests.training.runs import job, tiny, token_file
from zoo.training.loop import updates
from zoo.training.running.beginning import made, starting
from zoo.training.running.job import TrainingJob

DP, TP = (2, 1), (1, 2)
TEXT = "One day she was very happy. Tom had a big dog{}, and the dog ran to the park. "
PAIRS = [{"prompt": f"{who} was", "chosen": " very happy.", "rejected": " sorry."} for who in ("Emma", "Anne", "Jane")]
FILES = {"text": "text.txt", "pairs": "pairs.jsonl", "tokens": "tokens.npy"}
STEPS = 2


def rule(name: str, **numbers: Any) -> dict[str, Any]:
    """An optimizer with weight decay."""
    return {"optimizer": {"name": name, "betas": None, "eps": None, "weight_decay": 0.1, **numbers}}


HALF = {"dtype": "float32", "train": {"autocast": "bfloat16"}, **rule("sgd", lr=0.1)}
CASES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "texts over tp": (TP, rule("adagrad")),
    "experts": (DP, {
        "family": "mixtral", "freeze": ["embedding"], "train": {"batch_size": 3, "accumulate": 2, "recompute": True},
    }),
    "experts over tp": (TP, {"family": "mixtral", "train": {"recompute": True}, **rule("adam", decay="l2")}),
    "rows of many lengths, without clipping": (DP, {
        "train": {"clip": None, "batch_size": 3}, "data": {"packing": "none"}, **rule("sgd", momentum=0.9),
    }),
    "windows from anywhere": (DP, {"data": {"packing": "plain", "order": "random"}, **rule("rmsprop", momentum=0.5)}),
    "a chunk of logits": (DP, {"objective": {"chunk": 5, "z": 0.1}, "family": "gemma"}),
    "masked tokens": (DP, {
        "family": "bert", "file": "text", "objective": {"name": "mlm", "share": 0.3},
        "tokenizer": {"train": "wordpiece", "vocab_size": 80},
    }),
    "spans": (DP, {
        "family": "t5", "file": "text", "objective": {"name": "span"},
        "tokenizer": {"train": "unigram", "vocab_size": 180},
    }),
    "preferences": (DP, {"file": "pairs", "objective": {"name": "dpo"}, "source": "tiny", "train": {"batch_size": 3}}),
    "a teacher": (DP, {"file": "text", "objective": {"name": "distill", "teacher": "tiny"}, "source": "tiny"}),
    "bfloat16": (DP, HALF), "bfloat16 over tp": (TP, HALF),
}  # fmt: skip
# How far weights and records may be from those of one process. In float64 sums have another order. In bfloat16 each
# product is rounded, 2^-9 of it: of a gradient of norm 1 at most, times the rate of 0.1, in two steps; of a loss of 4.
LIMITS = {name: (2 * 0.1 * 2**-9, 4 * 2**-9) for name in ("bfloat16", "bfloat16 over tp")}
if find_spec("peft") is not None:
    CASES["an adapter"] = DP, {"source": "tiny", "lora": {"rank": 2}, "train": {"accumulate": 2}}


def write_data(folder: Path) -> None:
    """The files of all runs."""
    token_file(folder)
    (folder / "text.txt").write_text("".join(TEXT.format(i % 7) for i in range(12)))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))


def job_of(folder: Path, name: str, sections: dict[str, Any]) -> TrainingJob:
    """The job of a case, as float64."""
    given = dict(sections)
    family, file = given.pop("family", "llama"), folder / FILES[given.pop("file", "tokens")]
    config: Any = None if "source" in given else tiny(family)
    if family == "bert":
        config = replace(config, head="masked_lm", has_pooler=False)
    given["train"] = {"steps": STEPS, **given.get("train", {})}
    return job(folder / name, file, config=config, **given)


def run_of(job: TrainingJob) -> tuple[Any, list[dict[str, Any]]]:
    """A run that writes nothing, after its last step, and the records of its steps."""
    run = made(job, *starting(job, lambda text: None), lambda text: None)
    run.trainee.model.train()
    return run, list(updates(run.trainee, run.objective, run.recipe))


def weights_of(run: Any) -> dict[str, torch.Tensor]:
    """Whole, as they are saved."""
    from zoo.parallel.gathering import whole

    kept = run.trainee.kept()
    return {name: whole(kept.get(name, p).detach()).clone() for name, p in run.trainee.model.named_parameters()}


def gap(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """The largest difference of a weight."""
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in theirs)
