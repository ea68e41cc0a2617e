"""What rounded weights take: arithmetic against what a rounded model allocates, and against the formats' own sums."""

from __future__ import annotations

import pytest

import zoo
from tests.some import one_in, some
from zoo.anatomy.costs import costs
from zoo.anatomy.quantisation import QUANTISATIONS, quantisation, quantised_bytes
from zoo.anatomy.size import Size
from zoo.errors import UnknownName
from zoo.nn.packed import packed_layers
from zoo.registry import installed

FAMILIES = ["llama", "gpt2", "t5", "deepseek", "mixtral", "qwen2_5_vl", "bert", "chatglm"]


def test_bits_of_a_matrix_are_those_of_its_codes_and_scales() -> None:
    assert quantisation("int8").nbytes((10, 64)) == 10 * 64 + 10 * 2
    assert quantisation("int4").nbytes((10, 64)) == 10 * 32 + 10 * 2 * 4
    assert quantisation("int4-128").nbytes((3, 10, 192)) == 30 * 96 + 30 * 2 * 4
    assert quantisation("int4").nbytes((2, 33)) == 2 * 17 + 2 * 2 * 4
    with pytest.raises(UnknownName, match="quantize='int5'"):
        quantisation("int5")


@pytest.mark.parametrize("family", some(FAMILIES, "llama", "mixtral", "t5"))
@pytest.mark.parametrize("name", one_in(3, dict.fromkeys(q.name for q in QUANTISATIONS.values())))
def test_arithmetic_is_what_a_rounded_model_allocates(family: str, name: str) -> None:
    config = installed()[family].config_class.tiny()
    model = zoo.build(config, dtype="bfloat16", quantize=name)
    packed = sum(layer.nbytes for layer in packed_layers(model).values())
    kept = sum(p.nbytes for p in model.parameters())
    assert (packed, kept) == quantised_bytes(config.anatomy().weights, quantisation(name), "bfloat16")
    told = costs(Size.of(config), None, dtype="bfloat16", quantize=name)
    assert told["weight_bytes"] == packed + kept


def test_embedding_head_router_norms_and_vision_keep_their_numbers() -> None:
    for family in ("mixtral", "qwen2_5_vl"):
        model = zoo.build(installed()[family].config_class.tiny(), quantize="int8")
        names = " ".join(packed_layers(model))
        assert packed_layers(model)
        assert not any(word in names for word in ("embed", "lm_head", "router", "norm", "visual"))
