"""Texts against references, by the libraries that define the scores."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from zoo.errors import MissingExtra, UnknownName, ZooWarning
from zoo.measurement.references.examples import Example

PACKAGES = {"bleu": "sacrebleu", "rouge": "rouge_score", "exact": ""}  # metric -> the module it needs
METRICS = tuple(PACKAGES)
BLEU_TOKENS = ("13a", "intl", "zh", "char", "none")  # sacrebleu's others fetch models, or need further packages
ROUGES = ("rouge1", "rouge2", "rougeL")

Scorer = Callable[[Sequence[str], Sequence[Example]], dict[str, float]]


@dataclass(frozen=True)
class ReferenceScores:
    """What one file's examples scored."""

    examples: int
    scores: dict[str, float]  # bleu from 0 to 100, rouge1, rouge2, rougeL and exact from 0 to 1
    signature: str = ""  # sacrebleu's, of how BLEU was computed
    texts: list[str] = field(default_factory=list)  # what the model said

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {"examples": self.examples, **self.scores, "signature": self.signature, "texts": self.texts}


def scorers(metrics: Iterable[str], bleu_tokens: str = "13a") -> list[str]:
    """The metrics, each once, where all are known and their packages here. Raises UnknownName or MissingExtra else."""
    if bleu_tokens not in BLEU_TOKENS:
        raise UnknownName(f"there are no tokens of BLEU {bleu_tokens!r}", bleu_tokens, BLEU_TOKENS)
    names = list(dict.fromkeys(metrics))
    if wrong := next((name for name in names if name not in PACKAGES), None):
        raise UnknownName(f"there is no metric {wrong!r}", wrong, METRICS)
    for name in names:
        if PACKAGES[name] and find_spec(PACKAGES[name]) is None:
            raise MissingExtra(PACKAGES[name].replace("_", "-"), "eval", f"the metric {name}")
    return names


def compare(
    texts: Sequence[str], examples: Sequence[Example], metrics: Iterable[str] = METRICS, *, bleu_tokens: str = "13a"
) -> ReferenceScores:
    """The scores of what was said. `bleu_tokens` is sacrebleu's way to cut texts, one of BLEU_TOKENS."""
    scores: dict[str, float] = {}
    signature = ""
    for name in scorers(metrics, bleu_tokens):
        if name == "bleu":
            scores["bleu"], signature = _bleu(texts, examples, bleu_tokens)
        elif name == "rouge":
            scores |= _rouge(texts, examples)
        else:
            pairs = zip(texts, examples, strict=True)
            right = sum(text.strip() in [r.strip() for r in example.references] for text, example in pairs)
            scores["exact"] = right / len(examples)
    return ReferenceScores(len(examples), scores, signature, list(texts))


def _bleu(texts: Sequence[str], examples: Sequence[Example], tokens: str) -> tuple[float, str]:
    from sacrebleu.metrics.bleu import BLEU

    most = max(len(example.references) for example in examples)
    streams: Any = [[e.references[i] if i < len(e.references) else None for e in examples] for i in range(most)]
    bleu = BLEU(tokenize=tokens)
    return bleu.corpus_score(list(texts), streams).score, str(bleu.get_signature())


def _rouge(texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    from rouge_score.rouge_scorer import RougeScorer

    silent = sum(not any(c.isascii() and c.isalnum() for r in e.references for c in r) for e in examples)
    if silent:
        told = f"ROUGE counts words of a-z and digits: {silent} of {len(examples)} examples have none, and score 0"
        warnings.warn(told, ZooWarning, stacklevel=4)
    scorer = RougeScorer([*ROUGES], use_stemmer=False)
    found = [scorer.score_multi(e.references, text) for text, e in zip(texts, examples, strict=True)]
    return {name: sum(score[name].fmeasure for score in found) / len(found) for name in ROUGES}
