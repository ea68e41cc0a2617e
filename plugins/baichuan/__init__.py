"""Baichuan and Baichuan 2."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="baichuan",
            config=f"{__name__}.config:BaichuanConfig",
            model=f"{__name__}.model:Baichuan",
            formats={"hf": f"{__name__}.hf:BAICHUAN", "gguf": f"{__name__}.gguf:BAICHUAN"},
            hf_types=("baichuan",),
            summary="LLaMA's block with q, k and v in one matrix; ALiBi in the 13B, a normed head in Baichuan 2",
        ),
    ]
