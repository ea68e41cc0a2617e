"""The Transformer of 2017 and its Marian translation models."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="transformer",
            config=f"{__name__}.config:TransformerConfig",
            model=f"{__name__}.model:Transformer",
            formats={"hf": f"{__name__}.hf:TRANSFORMER"},
            hf_types=("marian",),
            summary="the encoder-decoder of 2017: sinusoidal positions, a norm after each addition",
        )
    ]
