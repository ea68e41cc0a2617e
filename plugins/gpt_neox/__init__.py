"""GPT-NeoX-20B, Pythia and what was trained with EleutherAI's library."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gpt_neox",
            config=f"{__name__}.config:GPTNeoXConfig",
            model=f"{__name__}.model:GPTNeoX",
            formats={"hf": f"{__name__}.hf:GPT_NEOX", "gguf": f"{__name__}.gguf:GPT_NEOX"},
            hf_types=("gpt_neox",),
            summary="attention and MLP side by side, a norm for each; a quarter of each head rotary, biases everywhere",
        ),
    ]
