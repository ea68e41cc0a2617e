"""StableLM 3B-4E1T, Zephyr and StableLM 2."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="stablelm",
            config=f"{__name__}.config:StableLMConfig",
            model=f"{__name__}.model:StableLM",
            formats={"hf": f"{__name__}.hf:STABLELM", "gguf": f"{__name__}.gguf:STABLELM"},
            hf_types=("stablelm",),
            summary="LLaMA's block with LayerNorms, a quarter of each head rotary; branches side by side in the 12B",
        ),
    ]
