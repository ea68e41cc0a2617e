"""`zoo embed`: texts and pictures as vectors, and how alike they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.cli.inspect import chosen, complete, shared_options
from zoo.cli.sights import image_option
from zoo.errors import UsageError, clean

if TYPE_CHECKING:
    from zoo.embedding import Vectors

Option = Callable[[Any], Any]

EPILOG = """\b
Examples:
  zoo embed ./all-MiniLM-L6-v2 -p "A cat sat." -p "A kitten sat down."
  zoo embed ./Qwen3-Embedding-0.6B ./questions.txt --prompt-name query --out vectors.npy
  zoo embed ./clip-vit-base-patch32 -p "a photo of a cat" --image cat.png --json
"""
REPEATED = "may be given more than once"
MAX_BYTES = 64 << 20
NAME = 40  # characters of a text that stand for it in a table


def reading_options(*own: Option) -> Option:
    """The arguments and options of every command that reads texts and pictures, with those of its `own` amid them."""
    order: tuple[Option, ...] = (
        click.argument("source", shell_complete=complete),
        shared_options,
        click.option("-p", "--prompt", "prompts", multiple=True, metavar="TEXT", help=f"A text; {REPEATED}."),
        image_option,
        *own,
        click.option("--batch", "batch_size", type=int, default=32, show_default=True, help="Texts at once."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, ..."),
        click.option("--dtype", help="Cast the weights, to float32 for example."),
    )

    def add(function: Any) -> Any:
        for option in reversed(order):
            function = option(function)
        return function

    return add


@click.command(epilog=EPILOG)
@reading_options(
    click.option("--prompt-name", metavar="NAME", help="A prompt of the folder's that is put before each text."),
    click.option("--pooling", metavar="NAME", help="How states become a vector: cls, mean, max, last, ..."),
)
@click.option("--out", metavar="FILE", help="Write the vectors to a file that ends in .npy.")
@click.option("--json", "as_json", is_flag=True, help="Vectors and the cosines between them, as JSON.")
def command(
    source: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    prompts: tuple[str, ...],
    images: tuple[str, ...],
    out: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Show how alike texts and pictures are to the model SOURCE, or write their vectors.

    The texts are -p, or the lines of a FILE that is named behind SOURCE. A folder of sentence-transformers says
    itself how a vector is made; for another encoder or decoder --pooling says it. CLIP and SigLIP have vectors of
    texts and pictures.
    """
    from zoo.embedding import embed

    texts, words = texts_of(prompts, choices)
    overrides, family = chosen(words)
    file = _npy(out)
    found = embed(
        source, *overrides, texts=texts, images=images, family=family, allow=allow, allow_pickle=allow_pickle, **given
    )
    for line in found.notes:
        output.note(f"note: {line}")
    if file is not None:
        _write(file, found)
    if as_json:
        output.as_json(found.to_dict())
    elif file is None:
        _table(found)
    output.note(f"{clean(found.source, 200)}: {len(found.names)} vectors of {found.vectors.shape[-1]} · {found.how}")


def texts_of(prompts: tuple[str, ...], words: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]]:
    """The texts of -p and of the lines of files, and the words that are no file.

    Raises UsageError for a word that can only be meant as one, and is not there.
    """
    files = [word for word in words if "=" not in word and Path(word).is_file()]
    others = [word for word in words if word not in files and "=" not in word]
    if absent := [word for word in others if not word.startswith("~") or "/" in word]:  # ~KEY takes something away
        raise UsageError(f"{clean(absent[0])}: is no file", hint="a text itself stands behind -p")
    return [*prompts, *(line for file in files for line in _lines(file))], tuple(w for w in words if w not in files)


def _lines(file: str) -> list[str]:
    from zoo.files.regular import read_bounded

    text = read_bounded(Path(file), MAX_BYTES).decode("utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _npy(out: str | None) -> Path | None:
    if out is None:
        return None
    file = Path(out).expanduser()
    if file.suffix != ".npy" or not file.parent.is_dir():
        raise UsageError(
            f"--out {clean(out)!r} is no .npy file in a folder that is there", hint="type: --out vectors.npy"
        )
    return file


def _write(file: Path, found: Vectors) -> None:
    """All of it or nothing: beside the file first."""
    import numpy as np

    from zoo.files.beside import put_whole

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, found.vectors.float().cpu().numpy(), allow_pickle=False)

    put_whole(file, write)
    output.note(f"wrote {clean(file, 200)}: float32, {list(found.vectors.shape)}")


def _table(found: Vectors) -> None:
    """The cosine of each two."""
    names = [name if len(name) <= NAME else f"{name[: NAME - 1]}…" for name in found.names]
    columns = [output.Column("", is_cut=True)]
    columns += [output.Column(str(i + 1), lambda x: f"{x:.3f}", is_number=True) for i in range(len(names))]
    rows = [[f"{i + 1} {name}", *row] for i, (name, row) in enumerate(zip(names, found.cosine.tolist(), strict=True))]
    output.table(columns, rows)
