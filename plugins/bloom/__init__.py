"""BLOOM, the open multilingual decoder with ALiBi."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="bloom",
            config=f"{__name__}.config:BloomConfig",
            model=f"{__name__}.model:Bloom",
            formats={"hf": f"{__name__}.hf:BLOOM", "gguf": f"{__name__}.gguf:BLOOM"},
            hf_types=("bloom",),
            summary="ALiBi in place of positions, a norm after the embedding, biases everywhere",
        )
    ]
