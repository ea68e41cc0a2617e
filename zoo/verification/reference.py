"""What a model is held to: another model of zoo, or the same checkpoint in transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.checkpoint.inspection import Ledger
from zoo.checkpoint.interpretation import table_for
from zoo.errors import UsageError, ZooError, clean, some
from zoo.models.transformers_library import first_line
from zoo.registry.fallback import FALLBACK
from zoo.verification.constants import constants, default_float64, holding, recomputed, shaken
from zoo.verification.edits import Edit
from zoo.verification.exact import Float64
from zoo.verification.in_transformers import attending_by, load_in_transformers
from zoo.verification.inputs import Inputs
from zoo.verification.names import counterparts, views_of
from zoo.verification.noise import SHAKEN
from zoo.verification.recording import Side, View
from zoo.weights.table import Table

ROWS = "its rows one by one"
NAMES = {
    "tokens": "input_ids", "decoder_tokens": "decoder_input_ids", "pixels": "pixel_values", "grid": "image_grid_thw",
}  # fmt: skip
OUTPUTS = {  # ours -> the names of transformers, of which the first that is there is taken
    "logits": ("logits", "prediction_logits", "logits_per_image"),
    "hidden": ("last_hidden_state",),
    "pooled": ("pooler_output",),
    "next_sentence": ("seq_relationship_logits", "sop_logits"),
    "text": ("text_embeds",),
    "image": ("image_embeds",),
}

Run = Callable[[], dict[str, Tensor]]


def zoo_side(model: nn.Module, inputs: Inputs, said: str) -> Side:
    """A model of zoo."""
    views = {name: View(module) for name, module in model.named_modules()}
    parameters = dict(model.named_parameters(remove_duplicate=False))

    def run() -> dict[str, Tensor]:
        return inputs.run(model)

    def weight(name: str) -> Tensor | None:
        return None if (p := parameters.get(name)) is None else p.detach()

    ways = {ROWS: lambda: _joined([row.run(model) for row in inputs.rows()])} if inputs.has_rows else {}
    return Side(said, run, views, weight, *_in_other_ways(model, run, ways))


def transformers_side(model: nn.Module, ledger: Ledger, inputs: Inputs, dtype: torch.dtype) -> tuple[Side, list[str]]:
    """The checkpoint of `ledger` as transformers reads it, and what is to be said of that."""
    notes: list[str] = []
    if ledger.family is FALLBACK:
        what = (
            f"{clean(ledger.source)} is read by transformers: it is transformers' own class that would be the reference"
        )
        raise UsageError(what, hint="hold it to another copy: --against FOLDER")
    if (part := ledger.config.nested) is not None:
        hint = f"zoo convert {ledger.source} FOLDER --to hf model.slice={part.name}, then zoo verify FOLDER"
        raise UsageError(f"transformers cannot read model.slice={part.name} out of a larger model", hint=hint)
    with _folder(ledger, notes) as (folder, gguf):
        theirs, random = load_in_transformers(folder, dtype, gguf_file=gguf)
    if random:
        notes.append(f"transformers has {some(random)} in addition; zoo does not have them, so they are left out")
    return side_of(theirs, model, table_for(ledger.family, "hf", ledger.config), inputs), notes


def side_of(theirs: nn.Module, model: nn.Module, table: Table, inputs: Inputs) -> Side:
    """A model of transformers, seen by our names, which a table gives: the family's for Hugging Face, as a rule."""
    import transformers

    dtype = next(theirs.parameters()).dtype
    given = {NAMES[n]: x.to(dtype) if x.is_floating_point() else x for n, x in inputs.given.items() if n in NAMES}
    if (shapes := inputs.given.get("shapes")) is not None:
        given["image_position_ids"] = places_of_patches(shapes, inputs.given["pixels"].shape[1])
    if not inputs.has_rows:  # their Qwen-VLs and Gemma 4 are told which tokens are an image's
        given["mm_token_type_ids"] = (inputs.given["tokens"] == vars(model.config)["image_token_id"]).long()
    if "pixels" in inputs.given and (cut := getattr(model, "patched", None)) is not None:
        patches, shapes = cut(given["pixel_values"])  # as their towers for pictures of any size take them
        real = torch.ones(patches.shape[:2], dtype=torch.long)
        given |= {"pixel_values": patches, "spatial_shapes": shapes, "pixel_attention_mask": real}
    lifted = Float64() if dtype == torch.float64 else nullcontext()
    of_one_tower = partial(_of_one_tower, vars(getattr(model, "config", model)))

    def run(given: dict[str, Tensor] = given) -> dict[str, Tensor]:
        try:
            with lifted:
                found = theirs(**given)
        except Exception as error:  # a third party's, at inputs that zoo's model reads
            raise ZooError(f"transformers stops: {first_line(error)}") from error
        return of_one_tower(named(found))

    def by_sdpa() -> dict[str, Tensor]:
        with attending_by(theirs, "sdpa"):
            return run()

    rows = [{name: x[i : i + 1] for name, x in given.items()} for i in range(len(next(iter(given.values()))))]
    ways = {"sdpa in place of eager": by_sdpa}
    if inputs.has_rows:
        ways[ROWS] = lambda: _joined([run(row) for row in rows])
    views, held = views_of(model, theirs, table), counterparts(model, theirs, table)
    said = f"transformers {transformers.__version__}, {type(theirs).__name__}, {_word(dtype)}, eager"

    def weight(name: str) -> Tensor | None:
        home, _, leaf = name.rpartition(".")
        view = held.get(home)
        found = None if view is None else getattr(view.module, leaf, None)
        if view is None or not isinstance(found, Tensor) or (view.columns is not None and leaf != "bias"):
            return None
        return found.detach() if view.columns is None else found.detach()[view.columns]

    return Side(said, run, views, weight, *_in_other_ways(theirs, run, ways))


def places_of_patches(shapes: Tensor, most: int) -> Tensor:
    """Column and row of each of `most` patches [I, most, 2], of images of `shapes` [I, 2]; -1 where there is none."""
    number = torch.arange(most)
    places = torch.stack((number % shapes[:, 1:], number // shapes[:, 1:]), -1)
    return places.masked_fill((number >= shapes.prod(1)[:, None])[..., None], -1)


def _in_other_ways(model: nn.Module, run: Run, ways: dict[str, Run]) -> tuple[Edit | None, dict[str, Run]]:
    """How a reference computes with constants in float64, and, where it cannot, how much their rounding may matter."""
    held, anew = constants(model), recomputed(model)

    def under(values: dict[str, Tensor]) -> Run:
        def elsewhere() -> dict[str, Tensor]:
            with holding(model, values)():
                return run()

        return elsewhere

    if moved := shaken({name: x for name, x in held.items() if name not in anew}):
        ways = ways | {SHAKEN: under(moved)}
    if next(model.parameters()).dtype != torch.float64:
        rounded = {name: x.to(held[name].dtype) for name, x in anew.items()}
        return None, ways | ({"its constants rounded from float64": under(rounded)} if rounded else {})

    @contextmanager
    def exact() -> Iterator[None]:
        with holding(model, anew)(), default_float64(), Float64():
            yield

    return exact, ways


def _joined(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """What rows give that were run one by one."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def _of_one_tower(config: dict[str, Any], found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The states and the vector of a tower alone under the names that they have beside another; else as they are."""
    if not config.keys() >= {"text", "vision"} or (config["text"] is None) == (config["vision"] is None):
        return found
    side = "image" if config["text"] is None else "text"
    found = {{"hidden": f"{side}_hidden", "pooled": side}.get(name, name): x for name, x in found.items()}
    if config.get("projection_size") is not None:  # transformers leaves a vector as long as the projection made it
        found[side] = F.normalize(found[side], dim=-1)
    return found


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
        from zoo.checkpoint.conversion import convert

        notes.append(
            f"transformers reads what zoo wrote from the {dialect} files: the layout of those files is not checked here"
        )
        with TemporaryDirectory() as parent:  # the ledger of a pickle is there by consent
            yield (
                convert(path, Path(parent) / "hf", format="hf", family=ledger.family.name, allow_pickle=True).folder,
                None,
            )


def named(found: Any) -> dict[str, Tensor]:
    """What transformers gives, under our names."""
    out: dict[str, Tensor] = {}
    for ours, names in OUTPUTS.items():
        value = next((v for name in names if (v := getattr(found, name, None)) is not None), None)
        if isinstance(value, Tensor):
            out[ours] = value
    if (start := getattr(found, "start_logits", None)) is not None:
        out["logits"] = torch.stack((start, found.end_logits), -1)
    for ours, name in (("text_hidden", "text_model_output"), ("image_hidden", "vision_model_output")):
        if (tower := getattr(found, name, None)) is not None:
            out[ours] = tower.last_hidden_state
    return out


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
