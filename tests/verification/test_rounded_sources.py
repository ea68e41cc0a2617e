"""A packed checkpoint is held to what it was rounded from: rounding passes, and nothing that hides behind it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from tests.files.packed import by_hand, tiny
from tests.files.packed.test_words_of_32 import AWQ
from zoo.cli import main
from zoo.verification import verify

pytestmark = pytest.mark.filterwarnings("ignore::zoo.errors.ZooWarning")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, its AWQ, and the same AWQ with two matrices of one shape exchanged."""
    home, plain = tmp_path_factory.mktemp("rounded"), tiny.weights(torch.float16)
    stored: dict[str, Tensor] = {}
    for key, tensor in plain.items():
        module = key.removesuffix(".weight")
        parts = by_hand.awq(32)(module, tensor)[0] if module in tiny.SHAPES else {"weight": tensor}
        stored |= {f"{module}.{part}": value for part, value in parts.items()}
    gate, up = f"{tiny.MODULES[4]}.", f"{tiny.UP}."
    swapped = {n.replace(gate, "~").replace(up, gate).replace("~", up): t for n, t in stored.items()}
    held = {"torch_dtype": "float16", "quantization_config": AWQ}
    return {
        "plain": tiny.write(home / "plain", plain, torch_dtype="float16"),
        "awq": tiny.write(home / "awq", stored, **held),
        "swapped": tiny.write(home / "swapped", swapped, **held),
    }


def test_a_rounded_model_is_the_same_but_for_its_rounding(folders: dict[str, Path]) -> None:
    run = CliRunner().invoke(main, ["verify", str(folders["awq"]), "--against", str(folders["plain"])])
    assert run.exit_code == 0, run.stdout
    assert "the same but for the rounding of weights to 4 bits in groups of 32 (7)." in run.stdout
    assert "the source is the reference rounded to 4 bits in groups of 32 (7)" in run.stdout
    assert "attention: relative error " in run.stdout
    assert "FAIL" not in run.stdout
    other = verify(folders["plain"], against=folders["awq"])
    assert (other.passed, other.rounding is not None and other.rounding.side) == (True, "A")


def test_what_rounding_does_not_explain_fails_and_is_named(folders: dict[str, Path]) -> None:
    run = CliRunner().invoke(main, ["verify", str(folders["swapped"]), "--against", str(folders["plain"]), "--json"])
    told = json.loads(run.stdout)
    assert (run.exit_code, told["passed"], told["verdict"]) == (1, False, "not the same")
    assert sorted(told["rounding"]["beyond"]) == [f"layers.0.mlp.{name}_proj.weight" for name in ("gate", "up")]


def test_a_limit_that_was_asked_for_excuses_no_rounding(folders: dict[str, Path]) -> None:
    found = verify(folders["awq"], against=folders["plain"], limit=1e-6)
    assert (found.passed, found.verdict) == (False, "not the same")
    assert found.rounding is not None
    assert found.rounding.explains
