"""null under a key means what transformers makes of it, or is refused: each key of each architecture, one at a time.

Logits in float64 are held to 1e-9, as in test_causal. Where transformers itself refuses, there is nothing to equal.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from tests.reference.conftest import VARIANTS, Case, Variant
from zoo.errors import ZooError
from zoo.registry import installed
from zoo.weights import ForeignConfig

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")]

NAMES = (
    "gpt2 llama3.1 mistral mixtral gemma1 gemma2 gemma3-text gemma3-vl qwen2-sliding qwen2-moe qwen3 qwen3-moe "
    "deepseek-v2 deepseek-v3 t5-v1.0 t5-v1.1 mt5 bert roberta distilbert glm glm4 glm4-moe bloom qwen2-vl qwen2.5-vl "
    "qwen3-vl qwen3-vl-moe clip vit deepseek-v3.2 glm-5.2"
).split()
# Which class it is, and so which outputs there are to compare.
CHOOSES_THE_MODEL = {("model_type",), ("architectures",)}


class Seen(dict[str, Any]):
    """A config that remembers which keys were looked for, whether it has them or not."""

    def __init__(self, values: dict[str, Any], above: tuple[str, ...] = (), seen: set[tuple[str, ...]] | None = None):
        self.above, self.seen = above, set() if seen is None else seen
        inner = {k: Seen(v, (*above, k), self.seen) if isinstance(v, dict) else v for k, v in values.items()}
        super().__init__(inner)

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add((*self.above, key))
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.seen.add((*self.above, key))
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.seen.add((*self.above, str(key)))
        return super().__contains__(key)


def read_keys(raw: dict[str, Any], folder: Path) -> set[tuple[str, ...]]:
    """The paths of all keys that the config has or its family looks for, in the groups that it has."""
    spy = Seen(raw)
    ledger = zoo.inspect(folder)
    installed()[ledger.family.name].dialect("hf").from_config(ForeignConfig(spy, tensors=ledger.checkpoint.tensors))
    return {path for path in spy.seen | {*_paths(raw)} if path not in CHOOSES_THE_MODEL}


def _paths(raw: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in raw.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from _paths(value, (*above, key))


def with_null(raw: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    out = copy.deepcopy(raw)
    group = out
    for part in path[:-1]:
        group = group[part]
    group[path[-1]] = None
    return out


def theirs(maker: ModuleType, case: Case, folder: Path) -> Tensor:
    """The reference's first output, in float64; whatever it cannot load it raises."""
    import transformers

    kind = getattr(transformers, maker.F[case.name]["cls"])
    read = inputs(case)  # not below, where the bytes of a file's float32 would be taken for float64
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), maker.F64():
            model, info = kind.from_pretrained(
                folder, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager",
                output_loading_info=True,
            )  # fmt: skip
            if info["missing_keys"] or info["mismatched_keys"]:
                raise ValueError(f"{info['missing_keys']} {info['mismatched_keys']}")
            given = {k: v.double() if v.is_floating_point() else v for k, v in read.items()}
            out = model.double().eval()(**given)
    finally:
        torch.set_default_dtype(torch.float32)
    return out[0] if not hasattr(out, "logits") else out.logits


answers: dict[tuple[str, str], Tensor | None] = {}


def answer(maker: ModuleType, case: Case, folder: Path, reference: Any) -> Tensor | None:
    """Theirs; None where it dies. Computed once of settings that both spellings lead to: the weights are the same."""
    key = case.name, json.dumps(reference, sort_keys=True)
    if key not in answers:
        try:
            answers[key] = theirs(maker, case, folder)
        except Exception:  # whatever the reference dies of
            answers[key] = None
    return answers[key]


def ours(case: Case, folder: Path) -> Tensor:
    model, given = zoo.load(folder, dtype="float64"), inputs(case)
    mask = given["attention_mask"].bool() if "attention_mask" in given else None
    with torch.no_grad():
        if "decoder_input_ids" in given:
            return model(given["input_ids"], given["decoder_input_ids"], attention_mask=mask)
        if case.name == "clip":
            return model(given["input_ids"], given["pixel_values"], mask).logits
        if case.name == "vit":
            return model(given["pixel_values"].double()).logits
        out = model(given["input_ids"], *((given.get("token_type_ids"), mask) if mask is not None else ()))
    return out if isinstance(out, Tensor) else out.logits


def inputs(case: Case) -> dict[str, Tensor]:
    """The texts; of a model that reads pictures too, those without."""
    if "text.input_ids" in case.inputs:
        return {"input_ids": case.inputs["text.input_ids"]}
    return {k: v for k, v in case.inputs.items() if "." not in k}


def settings(maker: ModuleType, raw: dict[str, Any]) -> Any:
    """The reference's config of a file, as JSON values; None where it refuses the file."""
    try:
        return json.loads(json.dumps(maker.load_config(raw).to_dict(), default=str))
    except Exception:
        return None


@pytest.mark.usefixtures("unadvised")
@pytest.mark.parametrize("variant", VARIANTS[:2], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_null_means_what_the_reference_means_or_is_refused(
    name: str, variant: Variant, maker: ModuleType, make_case: Callable[[str, Variant], Case], tmp_path: Path
) -> None:
    case, differ, compared = make_case(name, variant), [], 0
    raw = json.loads((case.folder / "config.json").read_text())
    (tmp_path / "model.safetensors").symlink_to(case.folder / "model.safetensors")
    file = tmp_path / "config.json"
    file.write_text(json.dumps(raw))
    plain = zoo.inspect(tmp_path).config, settings(maker, raw)
    computed: list[tuple[Any, Tensor]] = []  # ours of each config, which with the same weights is the same model
    for path in sorted(read_keys(raw, case.folder)):
        changed = with_null(raw, path)
        file.write_text(json.dumps(changed))
        try:
            ledger = zoo.inspect(tmp_path)
            ledger.check()
        except ZooError:
            continue
        reference = settings(maker, changed)
        if reference is None or (ledger.config, reference) == plain:
            continue
        if (expected := answer(maker, case, tmp_path, reference)) is None:
            continue
        compared += 1
        mask = case.inputs["attention_mask"].bool() if name in ("bert", "roberta", "distilbert") else slice(None)
        try:
            if ledger.config not in [config for config, _ in computed]:
                computed.append((ledger.config, ours(case, tmp_path)))
        except ZooError:  # the data tell it
            continue
        found = next(out for config, out in computed if config == ledger.config)
        if found.shape != expected.shape or not (found - expected)[mask].abs().max() < 1e-9:
            differ.append(".".join(path))
    assert not differ, f"{compared} compared"
    assert compared, "no null was compared"
