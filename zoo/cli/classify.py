"""`zoo classify`: the classes of texts, tokens and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.cli.embed import texts_of
from zoo.cli.inspect import chosen, complete, shared_options
from zoo.cli.speaker import image_option
from zoo.errors import clean

if TYPE_CHECKING:
    from zoo.embedding import Classes, Classified

EPILOG = """\b
Examples:
  zoo classify ./distilbert-sst2 -p "What a film!" -p "Never again."
  zoo classify ./reward-model ./answers.txt --json
  zoo classify ./clip-vit-base-patch32 --image cat.png --labels cat,dog,car
"""


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@shared_options
@click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help="A text; may be given more than once.")
@image_option
@click.option("--labels", metavar="NAME,...", help="CLIP: what a picture may show.")
@click.option("--template", metavar="TEXT", help="CLIP: the text around a label.  [default: This is a photo of {}.]")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="Classes shown of each.")
@click.option("--batch", "batch_size", type=int, default=32, show_default=True, help="Texts at once.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ...")
@click.option("--dtype", help="Cast the weights, to float32 for example.")
@click.option("--json", "as_json", is_flag=True, help="Every class and its score, as JSON.")
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    prompts: tuple[str, ...],
    images: tuple[str, ...],
    labels: str | None,
    template: str | None,
    top: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Show the classes of texts or pictures by the model SOURCE, which has a head for them.

    The texts are -p, or the lines of a FILE that is named behind SOURCE. Scores are probabilities, but of a model of
    one class (a reward model) and of a regression, whose number is given as it is. CLIP classifies pictures by
    --labels.
    """
    from zoo.embedding import classify

    texts, words = texts_of(prompts, choices)
    overrides, family = chosen(words)
    given |= {"template": template} if template is not None else {}
    found = classify(
        source, *overrides, texts=texts, images=images, labels=labels.split(",") if labels else (), family=family,
        allow=allow, allow_pickle=allow_pickle, **given,
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
