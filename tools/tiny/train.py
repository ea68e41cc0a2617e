"""Train `tiny`, the model in the box, and write it with its tokenizer, card and held-out sample.

    python tools/tiny/train.py OUT                     # fetches the text with apt-get download
    python tools/tiny/train.py OUT --text FILE.deb     # the package, or the Rdata.rdb inside it, from disk

writes OUT/tiny (the checkpoint in Hugging Face's layout) and OUT/sample.txt; the ones that ship lie in zoo/box.
It takes about half an hour on a free core, and needs zoo installed, and Debian's apt-get and dpkg-deb unless the text
is given as Rdata.rdb. The shape of the model is that of conf/model/tiny.yaml. The same seed, number of threads and
version of torch give the same weights on the same kind of processor; elsewhere float32 sums round differently, and
training amplifies that to other weights of the same quality.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from card import write_card, write_generation_config
from corpus import read_corpus
from passages import Passages, Text, encode, measure
from recipe import Recipe, Run
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from vocabulary import learn_vocabulary, write_tokenizer

import zoo


def main() -> None:
    """Train, save, measure what was saved, and write the card."""
    arguments = _arguments()
    recipe = Recipe(**{k: v for k, v in vars(arguments).items() if k in Recipe.__annotations__ and v is not None})
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    corpus = read_corpus(arguments.text)
    shape: Any = zoo.compose("tiny")  # a LlamaConfig; the families' classes are the registry's to import
    model = zoo.build(shape, device="cpu", seed=recipe.seed)
    tokenizer = learn_vocabulary(corpus.train, shape.vocab_size)
    texts = encode(tokenizer, corpus.train), encode(tokenizer, corpus.validation)
    run = train(model, recipe, *texts, context=shape.max_seq_len, newline=_newline(tokenizer))
    folder, sample = arguments.out / "tiny", arguments.out / "sample.txt"
    zoo.save(model.to(torch.bfloat16), folder, force=True)
    write_tokenizer(tokenizer, folder, max_len=shape.max_seq_len)
    sample.write_text("".join(corpus.test))
    write_generation_config(folder)
    write_card(folder, corpus, recipe, run)


def train(model: nn.Module, recipe: Recipe, text: Text, held_out: Text, *, context: int, newline: int) -> Run:
    """Train on `text`, and leave the weights that predict `held_out` best in `model`."""
    passages = Passages(text.ids, newline, context=context, seed=recipe.seed)
    optimizer = _optimizer(model, recipe)
    best, run, losses, start = copy.deepcopy(model.state_dict()), Run(0, 0, math.inf, math.inf, 0), [], time.monotonic()
    for step in range(1, recipe.steps + 1):
        losses.append(_step(model, optimizer, passages, recipe, step))
        if step % recipe.evaluate_every and step != recipe.steps:
            continue
        loss = measure(model, held_out, context=context).per_token
        minutes = (time.monotonic() - start) / 60
        print(f"step {step}  train {_mean(losses):.4f}  validation {loss:.4f}  {minutes:.1f} min", flush=True)
        if loss < run.validation:
            best, run = copy.deepcopy(model.state_dict()), Run(step, step, loss, _mean(losses), minutes)
        elif step - run.best_step >= recipe.patience * recipe.evaluate_every:
            break
        losses.clear()
    model.load_state_dict(best)
    return Run(step, run.best_step, run.validation, run.train, (time.monotonic() - start) / 60)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, passages: Passages, recipe: Recipe, step: int) -> float:
    """One update on one batch; its loss in nats per token."""
    for group in optimizer.param_groups:
        group["lr"] = _learning_rate(recipe, step)
    inputs, targets = passages.draw(recipe.batch_size)
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.max_norm)
    optimizer.step()
    return loss.item()


def _learning_rate(recipe: Recipe, step: int) -> float:
    """Linear up over the warm-up, then half a cosine down to a hundredth."""
    if step <= recipe.warmup:
        return recipe.learning_rate * step / recipe.warmup
    done = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    gains = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, fused=True)


def _newline(tokenizer: Tokenizer) -> int:
    """The token that ends a paragraph."""
    (token,) = tokenizer.encode("\n", add_special_tokens=False).ids
    return token


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


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
