"""`zoo classify`: the classes of texts, pairs of texts, tokens and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.cli.embed import REPEATED, reading_options, texts_of
from zoo.cli.inspect import chosen
from zoo.errors import UsageError, clean

if TYPE_CHECKING:
    from zoo.embedding import Classes, Classified

EPILOG = """\b
Examples:
  zoo classify ./distilbert-sst2 -p "What a film!" -p "Never again."
  zoo classify ./reranker --query "How tall is it?" ./answers.txt --json
  zoo classify ./clip-vit-base-patch32 --image cat.png --labels cat,dog,car
"""


@click.command(epilog=EPILOG)
@reading_options(
    click.option("--pair", "pairs", nargs=2, multiple=True, metavar="TEXT TEXT", help=f"Two texts; {REPEATED}."),
    click.option("--query", metavar="TEXT", help="The first of a pair with each of the texts."),
    click.option("--labels", metavar="NAME,...", help="Yours: CLIP, SigLIP, and texts by models of entailment."),
    click.option("--template", metavar="TEXT", help="The text around a label, {} in its place."),
    click.option("--multi-label", "is_multi_label", is_flag=True, help="Texts: score each label by itself."),
    click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes shown of each."),
)
@click.option("--json", "as_json", is_flag=True, help="Every class and its score, as JSON.")
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    prompts: tuple[str, ...],
    images: tuple[str, ...],
    pairs: tuple[tuple[str, str], ...],
    query: str | None,
    labels: str | None,
    top: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the classes of texts, pairs of texts or pictures by the model SOURCE, which has a head for them.

    The texts are -p, or the lines of a FILE that is named behind SOURCE; with --query each is the second of a pair,
    as rerankers read them. Scores are probabilities, but of a model of one class (a reward model) and of a regression,
    whose number is given as it is, unless a cross-encoder's files say otherwise. By --labels CLIP and SigLIP classify
    pictures, and a model with a class called entailment classifies texts.
    """
    from zoo.embedding import classify

    texts, words = texts_of(prompts, choices)
    overrides, family = chosen(words)
    if query is not None:
        if not texts:
            raise UsageError("--query has no text to go with", hint="add texts: -p, or a file of lines")
        texts, pairs = [], (*pairs, *((query, text) for text in texts))
    named = [label.strip() for label in labels.split(",")] if labels else []
    found = classify(
        source, *overrides, texts=texts, pairs=pairs, images=images, labels=named, family=family, allow=allow,
        allow_pickle=allow_pickle, **given,
    )  # fmt: skip
    for line in found.notes:
        output.note(f"note: {line}")
    if as_json:
        output.as_json(found.to_dict())
    else:
        _table(found, top)
    output.note(f"{clean(found.source, 200)}: {len(found.labels)} classes · {found.how}")


def _table(found: Classes, top: int) -> None:
    columns = [output.Column("input", is_cut=True), output.Column("class")]
    columns += [output.Column("score", lambda x: f"{x:.4f}", is_number=True)]
    shown = [token for one in found.inputs for token in one.tokens] or found.inputs
    output.table(columns, [row for one in shown for row in _rows(one, 1 if one.kind == "token" else top)])


def _rows(one: Classified, top: int) -> list[tuple[str, str, float]]:
    return [(one.name, label, score) for label, score in [*one.scores.items()][:top]]
