"""The model card of `tiny`: what was measured and what the model says, put into card.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from corpus import PACKAGE, Corpus
from passages import Loss, Text, encode, measure
from recipe import Recipe, Run

import zoo
from zoo.generation import GenerationConfig
from zoo.text import Tokenizer

PROMPTS = ("It was a truth", "The morning was", '"My dear Emma," said', "She had been", "One day")
NUM_NEW = 60  # tokens of each sample
PENALTY = 1.2  # on repetition


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


def write_card(folder: Path, corpus: Corpus, recipe: Recipe, run: Run) -> None:
    """README.md of the checkpoint in `folder`, from what its files give and not from the model in memory."""
    model, tokenizer = zoo.load(folder, dtype="float32"), Tokenizer.from_folder(folder)
    c: Any = model.config
    training = encode(tokenizer.backend, corpus.train)
    test, validation = _losses(model, tokenizer, corpus)
    says = {prompt: _greedy(model, tokenizer, prompt, PENALTY) for prompt in PROMPTS}
    body = (Path(__file__).parent / "card.md").read_text().format(
        c=c, recipe=recipe, run=run, test=test, validation=validation, package=PACKAGE, penalty=PENALTY,
        num_parameters=sum(p.numel() for p in model.parameters()),
        weight_kb=(folder / "model.safetensors").stat().st_size / 1000,
        train_perplexity=math.exp(run.train),
        train_bytes=training.num_bytes,
        train_chapters=len(corpus.train),
        epochs=run.best_step * recipe.batch_size * c.max_seq_len / len(training.ids),
        num_new=NUM_NEW,
        torch_version=torch.__version__.partition("+")[0],
        samples="\n".join(_quote(prompt, text) for prompt, text in says.items()),
        loop=_quote(PROMPTS[0], _greedy(model, tokenizer, PROMPTS[0], 1.0)),
    )  # fmt: skip
    head = yaml.safe_dump(_metadata(says, test), sort_keys=False, allow_unicode=True, width=120)
    (folder / "README.md").write_text(f"---\n{head}---\n\n{body}")


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
