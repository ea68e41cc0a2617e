"""GPT-2, from DistilGPT-2's six layers to XL's forty-eight."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gpt2",
            config=f"{__name__}.config:GPT2Config",
            model=f"{__name__}.model:GPT2",
            formats={"hf": f"{__name__}.hf:GPT2", "gguf": f"{__name__}.gguf:GPT2"},
            hf_types=("gpt2",),
            summary="LayerNorm, learned positions, multi-head attention, GELU, biases everywhere",
        )
    ]
