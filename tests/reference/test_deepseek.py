"""DeepSeek's multi-token prediction modules against transformers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from tests.reference.test_causal import close
from tests.reference.varied import TOKENS, make
from zoo.models.construction import default_dtype

pytestmark = pytest.mark.slow


@torch.inference_mode()
def test_prediction_modules_equal_the_reference(maker: ModuleType, tmp_path: Path) -> None:
    """Two in a row, each going on from the states that the one before has normed."""
    from transformers.modeling_layers import MtpModel

    main = make(maker, "deepseek-v3", {"num_nextn_predict_layers": 2}, tmp_path)
    with default_dtype(torch.float64), maker.F64():
        modules = MtpModel(main, 2).eval()
    maker.randomize(modules, 1)  # also embedding and head, which are the main model's
    main.save_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors") | on_disk(modules), tmp_path / "model.safetensors")
    found = zoo.load(tmp_path, "model.num_mtp_layers=2").predict_ahead(TOKENS)
    with maker.F64():
        x = main.model(TOKENS).last_hidden_state
        for k in range(2):
            positions = torch.arange(k + 1, TOKENS.shape[1]).expand(2, -1)
            x = modules.forward_layer(k, x[:, :-1], positions, None, input_ids=TOKENS[:, k + 1 :])
            close(found[k], main.lm_head(x), 1e-9)


def on_disk(modules: Any) -> dict[str, torch.Tensor]:
    """Tensors of the reference's modules under the hub's names, experts stacked; the fixture has 3 layers."""
    found = {}
    for name, x in modules.state_dict().items():
        if name.startswith("layers."):
            _, k, rest = name.split(".", 2)
            rest = rest.removeprefix("mtp_block.").replace("post_norm", "shared_head.norm")
            found[f"model.layers.{3 + int(k)}.{rest}"] = x.clone()
    return found
