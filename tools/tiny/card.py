"""The folder of `tiny`: the weights of a run in bfloat16, and a card of what was measured and what the model says.

    python tools/tiny/card.py RUN DATA OUT    # what the recipe wrote, what corpus.py wrote, and where it goes

OUT and DATA/sample.txt lie in zoo/box. The card is card.md with numbers in its places.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import torch
import yaml
from corpus import PACKAGE, Corpus, read_chapters
from passages import Loss, Text, encode, measure

import zoo
from zoo.generation import GenerationConfig
from zoo.text import Tokenizer
from zoo.training.running.snapshot import METRICS, read_facts

PROMPTS = ("It was a truth", "The morning was", '"My dear Emma," said', "She had been", "One day")
NUM_NEW = 60  # tokens of each sample
PENALTY = 1.2  # on repetition


@dataclass(frozen=True)
class Course:
    """How a run went."""

    steps: int  # taken before it was over or stopped
    best_step: int  # whose weights are kept
    train: float  # mean of the training loss from the look before that step to it, nats per token
    minutes: float

    @classmethod
    def of(cls, run: Path) -> Course:
        """By the metrics in its folder."""
        records = [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]
        facts = read_facts(run)
        step, _ = facts["best"]
        before = [r["loss"] for r in records if step - _numbers(facts).train.evaluate_every < r["step"] <= step]
        return cls(records[-1]["step"], step, mean(before), sum(r["seconds"] for r in records) / 60)


def main() -> None:
    """Cast, measure what was saved, and write the card."""
    parser = argparse.ArgumentParser(description="Write the model in the box.")
    for name in ("run", "data", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    train, validation = (read_chapters(arguments.data / f"{name}.jsonl") for name in ("train", "validation"))
    corpus = Corpus(train, validation, ((arguments.data / "sample.txt").read_text(encoding="utf-8"),))
    zoo.save(zoo.load(arguments.run, dtype="bfloat16"), arguments.out, force=True)
    write_generation_config(arguments.out)
    write_card(arguments.out, corpus, arguments.run)


def write_generation_config(folder: Path) -> None:
    """How the model is best run by default: greedy, kept out of loops."""
    settings = {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "do_sample": False,
        "repetition_penalty": PENALTY,
    }
    (folder / "generation_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_card(folder: Path, corpus: Corpus, run: Path) -> None:
    """README.md of the checkpoint in `folder`, from what its files give and not from the model in memory."""
    course, recipe = Course.of(run), _numbers(read_facts(run))
    model, tokenizer = zoo.load(folder, dtype="float32"), Tokenizer.from_folder(folder)
    c: Any = model.config
    training = encode(tokenizer.backend, corpus.train)
    test, validation = _losses(model, tokenizer, corpus)
    says = {prompt: _greedy(model, tokenizer, prompt, PENALTY) for prompt in PROMPTS}
    body = (Path(__file__).parent / "card.md").read_text().format(
        c=c, recipe=recipe, run=course, test=test, validation=validation, package=PACKAGE, penalty=PENALTY,
        num_parameters=sum(p.numel() for p in model.parameters()),
        weight_kb=(folder / "model.safetensors").stat().st_size / 1000,
        train_perplexity=math.exp(course.train),
        train_bytes=training.num_bytes,
        train_chapters=len(corpus.train),
        epochs=course.best_step * recipe.train.batch_size * c.max_seq_len / len(training.ids),
        num_new=NUM_NEW,
        torch_version=torch.__version__.partition("+")[0],
        samples="\n".join(_quote(prompt, text) for prompt, text in says.items()),
        loop=_quote(PROMPTS[0], _greedy(model, tokenizer, PROMPTS[0], 1.0)),
    )  # fmt: skip
    head = yaml.safe_dump(_metadata(says, test), sort_keys=False, allow_unicode=True, width=120)
    (folder / "README.md").write_text(f"---\n{head}---\n\n{body}")


def _numbers(facts: Mapping[str, Any]) -> SimpleNamespace:
    """The sections of the recipe that a run wrote down."""
    sections = {name: SimpleNamespace(**facts["recipe"][name]) for name in ("train", "optimizer", "schedule")}
    return SimpleNamespace(**sections, seed=facts["recipe"]["seed"])


def _losses(model: Any, tokenizer: Tokenizer, corpus: Corpus) -> tuple[Loss, Loss]:
    """On the test text and on the validation text."""
    sample = "".join(corpus.test)  # as one text, which is how others will read sample.txt
    test = Text(torch.tensor(tokenizer.encode(sample)), len(sample.encode()))
    validation = encode(tokenizer.backend, corpus.validation)
    context = model.config.max_seq_len
    return measure(model, test, context=context), measure(model, validation, context=context)


def _greedy(model: Any, tokenizer: Tokenizer, prompt: str, penalty: float) -> str:
    """What follows `prompt`, without it."""
    settings = GenerationConfig(max_new_tokens=NUM_NEW, repetition_penalty=penalty)
    return zoo.generate(model, prompt, tokenizer=tokenizer, config=settings).text


def _quote(prompt: str, text: str) -> str:
    """A Markdown quotation, the prompt in bold, with the line breaks of the text."""
    first, *rest = text.split("\n")
    return "\n".join([f"> **{prompt}**{first}", *(f">\n> {line}" for line in rest)]) + "\n"


def _metadata(says: Mapping[str, str], test: Loss) -> dict[str, Any]:
    """The card's head in the hub's vocabulary: samples under `widget`, numbers under `model-index`."""
    metrics = {"perplexity": round(test.perplexity, 3), "bits_per_byte": round(test.bits_per_byte, 4)}
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"name": "sample.txt: a held-out chapter of each novel", "type": "text", "split": "test"},
        "metrics": [{"type": kind, "value": value} for kind, value in metrics.items()],
    }
    return {
        "license": "apache-2.0",
        "language": "en",
        "library_name": "zoo",
        "pipeline_tag": "text-generation",
        "widget": [{"text": prompt, "output": {"text": text}} for prompt, text in says.items()],
        "model-index": [{"name": "tiny", "results": [result]}],
    }


if __name__ == "__main__":
    main()
