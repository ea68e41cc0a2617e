"""DeepSeek-V2, V3, R1 and V3.2, and GLM-5, which is of the last kind."""

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
        ),
        Family(
            name="deepseek_v32",
            config=f"{__name__}.sparse.config:DeepSeekV32Config",
            model=f"{__name__}.sparse.model:DeepSeekV32",
            formats={"hf": f"{__name__}.sparse.hf:DEEPSEEK_V32"},
            hf_types=("deepseek_v32", "glm_moe_dsa"),
            summary="DeepSeek-V3.2 and GLM-5: latent attention to the tokens that an indexer chooses",
        ),
    ]
