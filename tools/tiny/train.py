"""Train `tiny`, the model in the box, and write it with its tokenizer, card and held-out sample.

    python tools/tiny/train.py OUT                     # fetches the text with apt-get download
    python tools/tiny/train.py OUT --text FILE.deb     # the package, or the Rdata.rdb inside it, from disk

writes OUT/tiny (the checkpoint in Hugging Face's layout), OUT/sample.txt, and OUT/run, the run of `zoo train` with its
data, metrics and report; the first two lie in zoo/box. It takes about half an hour on a free core, and needs zoo
installed, and Debian's apt-get and dpkg-deb unless the text is given as Rdata.rdb. The shape of the model is that of
conf/model/tiny.yaml. The same seed, number of threads and version of torch give the same weights on the same kind of
processor; elsewhere float32 sums round differently, and training amplifies that to other weights of the same quality.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from card import write_card, write_generation_config
from corpus import read_corpus
from recipe import Recipe, Run

import zoo
from zoo.training.running.beginning import TrainingJob, train
from zoo.training.settings import Recipe as TrainingRecipe


def main() -> None:
    """Train, save, measure what was saved, and write the card."""
    arguments = _arguments()
    recipe = Recipe(**{k: v for k, v in vars(arguments).items() if k in Recipe.__annotations__ and v is not None})
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    corpus, out = read_corpus(arguments.text), arguments.out
    out.mkdir(parents=True, exist_ok=True)
    data = _written(out / "train.jsonl", corpus.train), _written(out / "validation.jsonl", corpus.validation)
    shape: Any = zoo.compose("tiny")  # a LlamaConfig; the families' classes are the registry's to import
    asked = TrainingRecipe.of(_sections(recipe, *data, context=shape.max_seq_len, vocab_size=shape.vocab_size))
    job = TrainingJob(asked, str(out / "run"), config=shape, typed=frozenset({"vocab_size"}))
    run, _ = train(job, force=True, tell=lambda text: print(text, flush=True))
    folder = out / "tiny"
    zoo.save(zoo.load(out / "run", dtype="bfloat16"), folder, force=True)
    (out / "sample.txt").write_text("".join(corpus.test))
    write_generation_config(folder)
    write_card(folder, corpus, recipe, _told(run.folder.records(), run.best, recipe))


def _sections(recipe: Recipe, train: Path, validation: Path, *, context: int, vocab_size: int) -> dict[str, Any]:
    """The recipe in the words of `zoo train`."""
    return {
        "train": {
            "steps": recipe.steps, "batch_size": recipe.batch_size, "clip": recipe.max_norm, "log_every": 100,
            "evaluate_every": recipe.evaluate_every, "save_every": recipe.evaluate_every, "patience": recipe.patience,
        },
        "optimizer": {
            "name": "adamw", "lr": recipe.learning_rate, "betas": list(recipe.betas),
            "weight_decay": recipe.weight_decay,
        },
        "schedule": {"name": "cosine", "warmup": recipe.warmup, "final": 0.01},
        "data": {
            "files": str(train), "validation": str(validation), "length": context, "packing": "plain",
            "order": "random", "row_starts": "\n",
        },
        "objective": {"name": "causal", "smoothing": 0.0, "z": 0.0, "chunk": None},
        "tokenizer": {"train": "bpe", "vocab_size": vocab_size},
        "seed": recipe.seed,
    }  # fmt: skip


def _written(file: Path, chapters: Iterable[str]) -> Path:
    """A chapter a line."""
    file.write_text("".join(json.dumps({"text": chapter}) + "\n" for chapter in chapters), encoding="utf-8")
    return file


def _told(records: Sequence[dict[str, Any]], best: tuple[int, float] | None, recipe: Recipe) -> Run:
    """How the run went, by its metrics."""
    assert best is not None, "it looked at the validation text at least once"
    step, validation = best
    before = [r["loss"] for r in records if step - recipe.evaluate_every < r["step"] <= step]
    minutes = sum(r["seconds"] for r in records) / 60
    return Run(records[-1]["step"], step, validation, mean(before), minutes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the model in the box.")
    parser.add_argument("out", type=Path, help="folder that takes tiny/ and sample.txt")
    parser.add_argument("--text", type=Path, help="the Debian package, or the Rdata.rdb inside it")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
