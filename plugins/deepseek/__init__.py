"""DeepSeek-V2, V3 and R1."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="deepseek",
            config=f"{__name__}.config:DeepSeekConfig",
            model=f"{__name__}.model:DeepSeek",
            formats={"hf": f"{__name__}.hf:DEEPSEEK", "gguf": f"{__name__}.gguf:DEEPSEEK"},
            hf_types=("deepseek_v2", "deepseek_v3"),
            summary="latent attention, many small experts of which groups are chosen, and shared ones",
        )
    ]
