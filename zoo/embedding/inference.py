"""Texts classified by labels of anybody's, through a model that tells whether one text follows from another.

Each label becomes a sentence, and its score is that of the sentence following from the text (arXiv:1909.00161), as in
transformers' zero-shot-classification. Shapes: B texts, L labels, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from zoo.embedding.pairs import pair_logits, pair_rows
from zoo.embedding.reading import Opened
from zoo.errors import CheckpointError, UsageError, clean, some
from zoo.text.pairs import FIRST

SENTENCE = "This example is {}."  # as in transformers' pipeline
FOLLOWS = ("entail",)  # how the names of the class begin that says so,
CONTRADICTS = ("contradict", "not_entail", "not entail", "non-entail", "non_entail")  # and of its opposite


def class_of(names: Sequence[str], beginnings: tuple[str, ...]) -> int | None:
    """The class whose name begins so; None where there is none. Raises UsageError where there are several."""
    found = [i for i, name in enumerate(names) if name.lower().startswith(beginnings)]
    if len(found) > 1:
        raise UsageError(f"{some([names[i] for i in found])}: which of these classes is meant is not clear")
    return found[0] if found else None


def is_of_inference(names: Sequence[str]) -> bool:
    """Whether one of the classes says that the second text follows from the first."""
    return any(name.lower().startswith(FOLLOWS) for name in names)


def by_sentences(
    opened: Opened,
    texts: Sequence[str],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    template: str,
    is_alone: bool,
    batch_size: int,
) -> Tensor:
    """Scores [B, L] in float64: of the labels among one another, or of each alone against its contradiction.

    Raises UsageError where the model has no class for what each alone is held to.
    """
    sentences = [filled(template, label) for label in labels]
    follows, contradicts = class_of(names, FOLLOWS), class_of(names, CONTRADICTS)
    assert follows is not None  # the caller has asked
    _check_numbers(opened, follows)
    is_alone = is_alone or len(labels) == 1
    if is_alone and contradicts is None:
        what = f"the classes are {clean(some(list(names)), 200)}, and none is for a contradiction"
        raise UsageError(what, hint="give two labels or more, and let one be chosen among them")
    rows = pair_rows(opened, [(text, sentence) for text in texts for sentence in sentences], cut=FIRST)
    logits = pair_logits(opened, rows, batch_size).double().unflatten(0, (len(texts), len(labels)))  # [B, L, C]
    if is_alone:
        return logits[..., [contradicts, follows]].softmax(-1)[..., 1]
    return logits[..., follows].softmax(-1)


def _check_numbers(opened: Opened, follows: int) -> None:
    """Refuse a config.json whose two lists give entailment two numbers: transformers' pipeline goes by label2id."""
    numbers = opened.ledger.checkpoint.config.get("label2id")
    named = {str(name): number for name, number in numbers.items()} if isinstance(numbers, dict) else {}
    wrong = [name for name in named if name.lower().startswith(FOLLOWS) and named[name] != follows]
    if wrong:
        what = f"{clean(repr(wrong[0]))} is class {clean(repr(named[wrong[0]]))}, but id2label says {follows}"
        raise CheckpointError(opened.ledger.checkpoint.config_file, "label2id", what)


def filled(template: str, label: str) -> str:
    """The sentence of a label. Raises UsageError for a template without a place for it, or with double braces."""
    if "{}" not in template:
        raise UsageError(f"template={clean(repr(template))} has no place for the label", hint="write {} there")
    if "{{" in template or "}}" in template:  # Python's format, which transformers takes, reads one brace for two
        raise UsageError(f"template={clean(repr(template))} has double braces", hint="write {} alone, once a label")
    return template.replace("{}", label)
