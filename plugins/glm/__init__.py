"""GLM-4 in transformers' layout, GLM-4-0414, and GLM-4.5, a mixture of experts."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="glm",
            config=f"{__name__}.config:GLMConfig",
            model=f"{__name__}.model:GLM",
            formats={"hf": f"{__name__}.hf:GLM", "gguf": f"{__name__}.gguf:GLM"},
            hf_types=("glm", "glm4"),
            summary="LLaMA's block, half of each head rotary in interleaved pairs; norms on both sides in GLM-4-0414",
        ),
        Family(
            name="glm4_moe",
            config=f"{__name__}.config:GLM4MoEConfig",
            model=f"{__name__}.model:GLM4MoE",
            formats={"hf": f"{__name__}.moe_hf:GLM4_MOE", "gguf": f"{__name__}.moe_gguf:GLM4_MOE"},
            hf_types=("glm4_moe",),
            summary="GLM-4.5: experts routed as DeepSeek-V3's, half of each head rotary",
        ),
    ]
