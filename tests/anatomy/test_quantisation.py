"""What rounded weights take: arithmetic against what a rounded model allocates, and against the formats' own sums."""

from __future__ import annotations

from dataclasses import replace

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


def test_embedding_router_norms_and_vision_keep_their_numbers_and_in_4_bits_the_head() -> None:
    for family in ("mixtral", "qwen2_5_vl"):
        for name, kept in (("int8", ()), ("int4", ("lm_head",))):
            names = " ".join(packed_layers(zoo.build(installed()[family].config_class.tiny(), quantize=name)))
            assert "layers" in names
            assert ("lm_head" in names) == (not kept)
            assert not any(word in names for word in ("embed", "router", "norm", "visual", *kept))


TABLE = {"bert": "embed.tokens.weight"}


@pytest.mark.parametrize("family", some(["llama", "gemma3n", "t5", "transformer", "bert", "opt", "cohere"], "t5"))
def test_in_8_bits_a_tied_head_and_its_table_are_one_matrix_and_an_untied_head_leaves_the_table(family: str) -> None:
    config, table = installed()[family].config_class.tiny(), TABLE.get(family, "embed.weight")
    for is_tied in (True, False):
        chosen = replace(config, tie_embeddings=is_tied)
        model = zoo.build(chosen, dtype="bfloat16", quantize="int8")
        layers = packed_layers(model)
        assert (table in layers) == is_tied
        assert any("head" in name or "decoder.weight" in name for name in layers) != is_tied
        counted = sum(layer.nbytes for layer in layers.values()), sum(p.nbytes for p in model.parameters())
        assert counted == quantised_bytes(chosen.anatomy().weights, quantisation("int8"), "bfloat16")


def test_a_head_whose_numbers_the_model_reads_keeps_them() -> None:
    config = installed()["baichuan"].config_class.tiny()
    for normed, expected in ((True, False), (False, True)):
        model = zoo.build(replace(config, has_normed_head=normed), quantize="int8")
        assert ("lm_head.weight" in packed_layers(model)) == expected
    headed = zoo.build(installed()["headed"].config_class.tiny(), quantize="int8")
    assert all(name.startswith("trunk.layers.") for name in packed_layers(headed))
