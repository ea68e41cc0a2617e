"""DeepSeek's multi-token prediction modules, which are GLM-4.5's too, against transformers."""

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


@pytest.mark.parametrize("name", ["deepseek-v3", "deepseek-v3.2", "glm4-moe"])
@torch.inference_mode()
def test_prediction_modules_equal_the_reference(maker: ModuleType, name: str, tmp_path: Path) -> None:
    """Two in a row, each going on from the states that the one before has normed."""
    main = make(maker, name, {"num_nextn_predict_layers": 2, "num_mtp_layers": 2}, tmp_path)
    with default_dtype(torch.float64), maker.F64():
        modules = modules_of(main, 2)
    maker.randomize(modules, 1)  # also embedding and head, which are the main model's
    main.save_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors") | on_disk(main, modules), tmp_path / "model.safetensors")
    found = zoo.load(tmp_path, "model.num_mtp_layers=2").predict_ahead(TOKENS)
    with maker.F64():
        x = main.model(TOKENS).last_hidden_state
        for k in range(2):
            x = computed(modules, k, x[:, :-1], TOKENS[:, k + 1 :])
            close(found[k], main.lm_head(x), 1e-9)


@torch.inference_mode()
def test_GLMs_module_guesses_and_is_exported(maker: ModuleType, tmp_path: Path) -> None:
    main = make(maker, "glm4-moe", {"num_nextn_predict_layers": 1}, tmp_path / "main")
    with default_dtype(torch.float64), maker.F64():
        modules = modules_of(main, 1)
    maker.randomize(modules, 1)
    main.save_pretrained(source := tmp_path / "in")
    stored = load_file(source / "model.safetensors") | on_disk(main, modules)
    at = "model.layers.3."  # the copies of embedding and head, which the released files have
    stored[f"{at}embed_tokens.weight"] = stored["model.embed_tokens.weight"].clone()
    stored[f"{at}shared_head.head.weight"] = stored["lm_head.weight"].clone()
    save_file(stored, source / "model.safetensors")
    left = zoo.inspect(source).account.ignored
    assert set(left) == {name for name in stored if name.startswith(at)}
    model = zoo.load(source, "model.num_mtp_layers=1")
    assert not model.ledger.account.ignored
    plain = zoo.generate(model, [[5, 9, 3, 8, 8], [7, 4]], max_new_tokens=15, eos_token_id=[])
    found = zoo.generate(model, [[5, 9, 3, 8, 8], [7, 4]], max_new_tokens=15, eos_token_id=[], draft="mtp")
    assert found.new_tokens == plain.new_tokens
    assert found.draft is not None
    assert found.draft.num_guessed > 0
    again = zoo.load(zoo.save(model, tmp_path / "out"))
    assert again.config == model.config
    pairs = zip(model.named_parameters(), again.named_parameters(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def computed(modules: Any, k: int, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """What module k makes of states and tokens; its own `forward_layer` makes no mask for the layers of a V3.2."""
    embedded, count = modules.embed_tokens(tokens), tokens.shape[1]
    positions = torch.arange(k + 1, k + 1 + count).expand(2, -1)
    mask = torch.full((1, 1, count, count), torch.finfo(x.dtype).min, dtype=x.dtype).triu(1)
    turned = modules.rotary_emb(embedded, position_ids=positions)
    places = {"position_ids": positions, "position_embeddings": turned}
    return modules.layers[k](embedded, x, attention_mask=mask, past_key_values=None, **places)


def modules_of(main: Any, count: int) -> Any:
    """Some, for which the config of a V3.2 has to say what they are; it is left as it was."""
    from transformers.modeling_layers import MtpModel

    told = {"mtp_layer_types": ["indexed_attention"] * count, "mtp_mlp_layer_types": ["sparse"] * count}
    told = told if hasattr(main.config, "index_topk") else {}
    vars(main.config).update(told)
    try:
        return MtpModel(main, count).eval()
    finally:
        for name in told:
            delattr(main.config, name)


def on_disk(main: Any, modules: Any) -> dict[str, torch.Tensor]:
    """Tensors of the reference's modules under the hub's names, behind the model's, experts stacked."""
    found, count = {}, main.config.num_hidden_layers
    for name, x in modules.state_dict().items():
        if name.startswith("layers."):
            _, k, rest = name.split(".", 2)
            rest = rest.removeprefix("mtp_block.").replace("post_norm", "shared_head.norm")
            found[f"model.layers.{count + int(k)}.{rest}"] = x.clone()
    return found
