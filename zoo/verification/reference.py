"""What a model is held to: another model of zoo, or the same checkpoint in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import UsageError, ZooError, some
from zoo.inspection import Ledger
from zoo.interpretation import table_for
from zoo.verification.exact import Float64
from zoo.verification.in_transformers import first_line, load_in_transformers
from zoo.verification.inputs import Inputs
from zoo.verification.names import views_of
from zoo.verification.recording import Side, View

NAMES = {
    "tokens": "input_ids", "decoder_tokens": "decoder_input_ids", "pixels": "pixel_values", "grid": "image_grid_thw",
}  # fmt: skip
OUTPUTS = {  # ours -> the names of transformers, of which the first that is there is taken
    "logits": ("logits", "prediction_logits", "logits_per_image"),
    "hidden": ("last_hidden_state",),
    "pooled": ("pooler_output",),
    "next_sentence": ("seq_relationship_logits",),
    "text": ("text_embeds",),
    "image": ("image_embeds",),
}


def zoo_side(model: nn.Module, inputs: Inputs, said: str) -> Side:
    """A model of zoo."""
    views = {name: View(module) for name, module in model.named_modules()}
    parameters = dict(model.named_parameters(remove_duplicate=False))

    def run() -> dict[str, Tensor]:
        return inputs.run(model)

    return Side(said, run, views, lambda name: p.detach() if (p := parameters.get(name)) is not None else None)


def transformers_side(model: nn.Module, ledger: Ledger, inputs: Inputs, dtype: torch.dtype) -> tuple[Side, list[str]]:
    """The checkpoint of `ledger` as transformers reads it, and what is to be said of that."""
    notes: list[str] = []
    with _folder(ledger, notes) as (folder, gguf):
        theirs, random = load_in_transformers(folder, dtype, gguf_file=gguf)
    if random:
        notes.append(f"transformers has {some(random)} beside, which zoo has not and which are left out")
    return side_of(theirs, model, ledger, inputs), notes


def side_of(theirs: nn.Module, model: nn.Module, ledger: Ledger, inputs: Inputs) -> Side:
    """A model of transformers, seen by our names, which the family's table for Hugging Face gives."""
    import transformers

    dtype, config = next(theirs.parameters()).dtype, vars(ledger.config)
    given = {NAMES[n]: x.to(dtype) if x.is_floating_point() else x for n, x in inputs.given.items()}
    if "grid" in inputs.given:  # their Qwen-VLs are told which tokens are an image's
        given["mm_token_type_ids"] = (inputs.given["tokens"] == config["image_token_id"]).long()
    lifted = Float64() if dtype == torch.float64 else nullcontext()

    def run() -> dict[str, Tensor]:
        try:
            with lifted:
                found = theirs(**given)
        except Exception as error:  # a third party's, at inputs that zoo's model reads
            raise ZooError(f"transformers stops: {first_line(error)}") from error
        return named(found)

    table = table_for(ledger.family, "hf", ledger.config)
    views = views_of(model, theirs, table)
    said = f"transformers {transformers.__version__}, {type(theirs).__name__}, {_word(dtype)}, eager"

    def weight(name: str) -> Tensor | None:
        view = views.get(name.rpartition(".")[0])
        found = getattr(view.module, name.rpartition(".")[2], None) if view and view.columns is None else None
        return found.detach() if isinstance(found, Tensor) else None

    return Side(said, run, views, weight)


@contextmanager
def _folder(ledger: Ledger, notes: list[str]) -> Iterator[tuple[Path, str | None]]:
    """A folder that transformers can read, and the name of a GGUF file in it."""
    path, dialect = ledger.checkpoint.path, ledger.dialect
    if dialect == "gguf":
        file = ledger.checkpoint.files[0]
        yield file.parent, file.name
    elif dialect == "hf":
        yield ledger.checkpoint.folder, None
    elif "hf" not in ledger.family.formats:
        raise UsageError(f"{ledger.family.name} has no hf format, so transformers cannot read it")
    else:
        from zoo.conversion import convert

        notes.append(
            f"transformers reads what zoo wrote from the {dialect} files: their own layout is not checked here"
        )
        with TemporaryDirectory() as parent:  # the ledger of a pickle is there by consent
            yield convert(path, Path(parent) / "hf", to="hf", family=ledger.family.name, allow_pickle=True).folder, None


def named(found: Any) -> dict[str, Tensor]:
    """What transformers gives, under our names."""
    out: dict[str, Tensor] = {}
    for ours, names in OUTPUTS.items():
        value = next((v for name in names if (v := getattr(found, name, None)) is not None), None)
        if isinstance(value, Tensor):
            out[ours] = value
    for ours, name in (("text_hidden", "text_model_output"), ("image_hidden", "vision_model_output")):
        if (tower := getattr(found, name, None)) is not None:
            out[ours] = tower.last_hidden_state
    return out


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
