"""Whether an adapter belongs to a base: what would be quietly ignored, or make another model, is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import zoo
from tests.adapters.folders import of_tiny, pair, write
from zoo.adapters.file.folder import open_adapter
from zoo.adapters.fit.base import AdaptedBase
from zoo.adapters.fit.settled import settle
from zoo.checkpoint.adapted import fit_of
from zoo.checkpoint.inspection import Ledger
from zoo.cli import main
from zoo.errors import CheckpointError
from zoo.registry import installed

Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def tiny() -> Ledger:
    return zoo.inspect("tiny")


def refused(tiny: Ledger, folder: Path, allow: tuple[str, ...] = ()) -> str:
    with pytest.raises(CheckpointError) as caught:
        fit_of(tiny, folder, allow=allow).check()
    return str(caught.value)


def test_an_adapter_of_the_base_fits(tiny: Ledger, tmp_path: Path) -> None:
    fit = fit_of(tiny, write(tmp_path / "a"))
    fit.check()
    assert len(fit.pairs) == 10
    assert {placed.step.ours for placed in fit.pairs} >= {("layers.4.attn.v_proj.weight",)}


@pytest.mark.parametrize("is_whole", [False, True])
def test_an_embedding_that_transformers_reads_by_other_modules_is_refused(is_whole: bool, tmp_path: Path) -> None:
    """Beside T5's `shared` peft changes nothing: both stacks read the same numbers by modules of their own."""
    family = installed()["t5"]
    config = family.config_class.tiny()
    base = AdaptedBase(family, config, config.anatomy().shapes(), "t5")
    shapes = base.tables[0].places
    (rows, columns), wide = shapes["shared.weight"][1], shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][1]
    tensors = pair("encoder.block.0.layer.0.SelfAttention.q", *reversed(wide))
    if is_whole:
        tensors |= {"base_model.model.shared.weight": torch.ones(rows, columns)}
        settings: dict[str, Any] = {"target_modules": ["q"], "modules_to_save": ["shared"]}
    else:
        tensors |= {"base_model.model.shared.lora_embedding_A": torch.ones(2, rows)}
        tensors |= {"base_model.model.shared.lora_embedding_B": torch.ones(columns, 2)}
        settings = {"target_modules": ["q", "shared"]}
    fit = settle(open_adapter(write(tmp_path / "a", tensors, **settings)), base)
    told = [what for kind, name, what in fit.problems if kind == "mismatched" and name.startswith("shared")]
    readers = "encoder.embed_tokens.weight, decoder.embed_tokens.weight"
    expected = f"transformers reads it by {readers} too, beside which there is no adapter; zoo has one module for all"
    assert told == [expected]


def without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in of_tiny().items() if not key.startswith(name)}


CASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "half a pair": (without(f"{Q0}.lora_B"), {}, "has no lora_B"),
    "a layer left out": (without(Q0), {}, "missing     model.layers.0.self_attn.q_proj"),
    "a kind left out": (
        {k: v for k, v in of_tiny().items() if "v_proj" not in k}, {}, "model.layers.{0..4}.self_attn.v_proj",
    ),
    "layers that are not there": (of_tiny() | pair("model.layers.5.self_attn.q_proj", 128, 128), {}, "no such weight"),
    "modules that the settings do not name": (of_tiny(), {"target_modules": ["q_proj"]}, "the settings do not name it"),
    "layers that the settings leave out": (of_tiny(), {"layers_to_transform": [0, 1]}, "layers.{2..4}"),
    "another model's names": (pair("transformer.h.0.attn.c_attn", 128, 384), {"target_modules": ["c_attn"]}, "no such"),
    "another model's sizes": (without(Q0) | pair("model.layers.0.self_attn.q_proj", 96, 128), {}, "[2, 96]"),
    "another rank than said": (of_tiny(3), {}, "rank 3 in the file, 2 in the settings"),
    "DoRA without magnitudes": (of_tiny(), {"use_dora": True}, "has no magnitude"),
    "magnitudes without DoRA": (of_tiny() | {f"{Q0}.lora_magnitude_vector": torch.ones(128)}, {}, "say no DoRA"),
    "a whole tensor that nobody asked for": (
        of_tiny() | {"base_model.model.model.norm.weight": torch.ones(128)}, {}, "modules_to_save does not name it",
    ),
    "a whole module that is not there": (of_tiny(), {"modules_to_save": ["norm"]}, "modules_to_save names it"),
    "a head that the base ties": (
        of_tiny() | pair("lm_head", 128, 1024), {"target_modules": ["q_proj", "v_proj", "lm_head"]}, "the base ties it",
    ),
    "a tensor of another kind": (of_tiny() | {f"{Q0}.lora_E": torch.ones(2, 1)}, {}, "does not know what this"),
    "a name without peft's prefix": ({"q.lora_A.weight": torch.ones(2, 4)}, {}, "does not begin with"),
    "integers": (of_tiny() | {f"{Q0}.lora_A.weight": torch.ones(2, 128, dtype=torch.int32)}, {}, "int32"),
    "a convolution": (
        {f"{Q0}.lora_A.weight": torch.ones(2, 3, 1, 1), f"{Q0}.lora_B.weight": torch.ones(4, 2, 1, 1)}, {},
        "not a matrix",
    ),
    "factors of two ranks": (of_tiny() | {f"{Q0}.lora_B.weight": torch.ones(128, 3)}, {}, "differ in rank"),
    "parameters that are not there": (of_tiny(), {"target_parameters": ["experts.up_proj"]}, "target_parameters names"),
    "another base": (of_tiny(), {"base_model_name_or_path": "org/other-1b"}, "it was made for org/other-1b"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_refused(case: str, tiny: Ledger, tmp_path: Path) -> None:
    tensors, settings, told = CASES[case]
    with pytest.raises(CheckpointError) as caught:
        fit_of(tiny, write(tmp_path / "a", tensors, **settings)).check()
    assert told in str(caught.value)


@pytest.mark.parametrize("targets", ["all-linear", r".*\.self_attn\.(q|v)_proj", ["q_proj", "v_proj"]])
def test_a_layer_is_missed_however_the_modules_are_named(targets: Any, tiny: Ledger, tmp_path: Path) -> None:
    fit_of(tiny, write(tmp_path / "whole", target_modules=targets)).check()
    folder = write(tmp_path / "a", without(Q0), target_modules=targets)
    assert "missing     model.layers.0.self_attn.q_proj" in refused(tiny, folder)


def test_another_name_of_the_base_can_be_allowed_and_is_told(tiny: Ledger, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", base_model_name_or_path="org/other-1b")
    assert "--allow base_model_name_or_path" in refused(tiny, folder)
    fit = fit_of(tiny, folder, allow=("base_model_name_or_path",))
    fit.check()
    assert "made for org/other-1b" in fit.notes[0]


@pytest.mark.parametrize("name", ["", "tiny", "someone/tiny", "/home/me/models/tiny/", "C:\\models\\Tiny"])
def test_the_base_goes_by_the_last_word_of_its_name(name: str, tiny: Ledger, tmp_path: Path) -> None:
    fit_of(tiny, write(tmp_path / "a", base_model_name_or_path=name)).check()


def test_inspect_says_what_an_adapter_is_and_whether_it_fits(tmp_path: Path) -> None:
    folder = str(write(tmp_path / "a"))
    alone = CliRunner().invoke(main, ["inspect", folder])
    assert "LoRA of rank 2, alpha 6" in alone.stdout
    assert "not looked at" in alone.stdout
    beside = CliRunner().invoke(main, ["inspect", folder, "--base", "tiny"])
    assert (beside.exit_code, "fits tiny (llama)" in beside.stdout) == (0, True)
    other = CliRunner().invoke(main, ["inspect", str(write(tmp_path / "b", of_tiny(3))), "--base", "tiny"])
    assert other.exit_code == 1
    assert "10 problems" in other.stdout


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    bad = of_tiny() | {f"{Q0}.lora_A.weight": torch.full((2, 128), float("nan"))}
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        zoo.convert("tiny", tmp_path / "out", adapter=write(tmp_path / "a", bad))
