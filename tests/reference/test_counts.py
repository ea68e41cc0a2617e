"""Every preset has as many parameters as the reference builds for the config that zoo writes, or as were published."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.presets import config as read_preset
from zoo.registry import DISTRIBUTION, installed

# No class of transformers 5.23 builds these. Sizes of the safetensors files on the hub, in parameters.
PUBLISHED = {
    "chatglm-6b": 6_173_286_400,
    "chatglm2-6b": 6_243_584_000,
    "chatglm3-6b": 6_243_584_000,
    "glm-4-9b-chat": 9_399_951_360,
    "qwen-1.8b": 1_836_828_672,
    "qwen-7b": 7_721_324_544,
    "qwen-14b": 14_167_290_880,
    "qwen-72b": 72_287_920_128,
    "qwen-vl-chat": 9_656_935_168,
    "baichuan-7b": 7_000_559_616,
    "baichuan-13b": 13_264_901_120,
    "baichuan2-7b": 7_505_973_248,
    "baichuan2-13b": 13_896_668_160,
    "exaone3-7.8b": 7_818_448_896,
    "exaone3.5-2.4b": 2_405_327_360,
    "exaone3.5-7.8b": 7_818_448_896,
    "exaone3.5-32b": 32_003_200_000,
    "internlm2-1.8b": 1_889_110_016,
    "internlm2-7b": 7_737_708_544,
    "internlm2-20b": 19_861_149_696,
    "internlm3-8b": 8_804_241_408,
    "minicpm-2b": 2_724_880_896,
}
# The sandbox's are those of other families, and the Transformer of 2017 was never released.
OTHERS = ("decoder/", "transformer-")
NAMES = [n for n, p in installed().presets().items() if p.plugin == DISTRIBUTION and not n.startswith(OTHERS)]
# Buffers of theirs that are weights of ours: what steers the choice of experts, Marian's bias of the logits.
BUFFERS = ("e_score_correction_bias", "final_logits_bias")
OF_GEMMA_4 = (  # in its files, and no parameters there: a number for each layer, and of its tower for each matrix
    "layer_scalar", "input_min", "input_max", "output_min", "output_max", "std_bias", "std_scale",
)  # fmt: skip
TABLES = "embed_positions.weight"  # Marian's sinusoids, which are computed here
counted: dict[str, int] = {}  # what presets have in common is built once


def counted_by_the_reference(config: Any) -> int:
    transformers = pytest.importorskip("transformers", reason="the reference extra is not installed")
    keys = installed()[config.family].dialect("hf").to_config(config)
    told = ("dtype", "torch_dtype", "bos_token_id", "eos_token_id", "pad_token_id", "rope_parameters")
    key = repr({name: value for name, value in keys.items() if name not in told})
    if key not in counted:
        from transformers.initialization import no_init_weights

        with torch.device("meta"), no_init_weights():  # on meta too, to draw numbers takes a third of the time
            kind = getattr(transformers, keys["architectures"][0])
            model = kind(transformers.AutoConfig.for_model(**keys))
        model.tie_weights()
        counted[key] = sum(x.numel() for x in weights_of(model, is_tied=bool(keys.get("tie_word_embeddings"))))
        counted[key] += sum(x.numel() for name, x in model.named_buffers() if name.endswith(OF_GEMMA_4))
    return counted[key]


def weights_of(model: Any, *, is_tied: bool) -> list[torch.Tensor]:
    """What the released files of such a model hold, computed constants apart."""
    found = [
        x for name, x in model.named_parameters() if not name.endswith(TABLES) or model.config.model_type != "marian"
    ]
    found += [x for name, x in model.named_buffers() if name.endswith(BUFFERS)]
    head = model.get_output_embeddings()
    # transformers 5 ties a T5, whatever its config says, until a file brings a head.
    if head is not None and head.weight is model.get_input_embeddings().weight and not is_tied:
        found.append(head.weight)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_presets_have_as_many_parameters_as_the_reference(name: str) -> None:
    config = read_preset(name)
    found = sum(weight.numel for weight in config.anatomy().weights)
    assert found == (PUBLISHED[name] if name in PUBLISHED else counted_by_the_reference(config))
