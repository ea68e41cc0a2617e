"""A loaded model is pickled whole, its ledger too, whatever functions its family's table holds."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import zoo
from tests.some import some
from zoo.models.trial import drawn_tokens
from zoo.registry import installed

FAMILIES = sorted(name for name, family in installed().families.items() if "hf" in family.formats)


@pytest.mark.parametrize("family", some(FAMILIES, "gpt2"))
def test_a_model_is_pickled_with_its_ledger(family: str, tmp_path: Path) -> None:
    config = installed()[family].config_class.tiny()
    model = zoo.load(zoo.save(zoo.build(config, device="cpu"), tmp_path / "a", format="hf"))
    again = pickle.loads(pickle.dumps(model))
    before, after = model.ledger, again.ledger
    assert after.to_dict() == before.to_dict()
    assert [str(step) for step in after.account.steps] == [str(step) for step in before.account.steps]
    assert after.account.witnesses.keys() == before.account.witnesses.keys()
    assert after.family is before.family
    if hasattr(model, "new_cache") and not hasattr(model, "conditioned"):
        tokens = drawn_tokens(config, 1, 5)
        # Weights lie elsewhere than in a file, and float32 sums are then taken in another order.
        assert (again(tokens) - model(tokens)).abs().max().item() < 1e-6
    zoo.save(again, tmp_path / "b", format="hf")
    assert (tmp_path / "b" / "model.safetensors").read_bytes() == (tmp_path / "a" / "model.safetensors").read_bytes()
