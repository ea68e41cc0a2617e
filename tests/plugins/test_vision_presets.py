"""Presets of the vision families have as many parameters as the hub counts in each repository's weights."""

from __future__ import annotations

import pytest

from zoo import presets
from zoo.anatomy.size import Size
from zoo.presets.composition import compose

PUBLISHED = {
    "qwen2-vl-2b": 2_208_985_600,
    "qwen2-vl-7b": 8_291_375_616,
    "qwen2-vl-72b": 73_405_560_320,
    "qwen2.5-vl-3b": 3_754_622_976,
    "qwen2.5-vl-7b": 8_292_166_656,
    "qwen2.5-vl-32b": 33_452_718_336,
    "qwen2.5-vl-72b": 73_410_777_344,
    "qwen3-vl-2b": 2_127_532_032,
    "qwen3-vl-4b": 4_437_815_808,
    "qwen3-vl-8b": 8_767_123_696,
    "qwen3-vl-30b-a3b": 31_070_754_032,
    "qwen-vl-chat": 9_656_935_168,
    "clip-vit-b32": 151_277_313,
    "clip-vit-b16": 149_620_737,
    "clip-vit-l14": 427_616_513,
    "clip-vit-l14-336": 427_944_193,
    "clip-vit-h14": 986_109_441,
    "dinov2-small": 22_056_576,
    "dinov2-base": 86_580_480,
    "dinov2-large": 304_368_640,
    "dinov2-giant": 1_136_480_768,
    "dinov2-with-registers-base": 86_583_552,
    "dinov2-with-registers-giant": 1_136_486_912,
    "siglip-base-patch16-224": 203_155_970,
    "siglip-base-patch16-256-multilingual": 370_626_050,
    "siglip-base-patch16-512": 203_791_874,
    "siglip-large-patch16-384": 652_478_466,
    "siglip-so400m-patch14-224": 877_360_306,
    "siglip-so400m-patch14-384": 877_960_498,
    "siglip-so400m-patch16-256-i18n": 1_128_758_962,
    "siglip2-base-patch16-224": 375_187_970,
    "siglip2-base-patch32-256": 376_856_066,
    "siglip2-giant-opt-patch16-384": 1_871_885_426,
    "siglip2-large-patch16-512": 882_313_218,
    "siglip2-base-patch16-naflex": 375_234_050,
    "siglip2-so400m-patch16-naflex": 1_135_670_962,
    "siglip2-so400m-patch16-512": 1_136_555_698,
    "vit-base": 86_567_656,
    "vit-large": 304_326_632,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_presets_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    config = compose(name)
    assert Size.of(config).parameters == parameters
    assert presets.config(name) == config
