"""Granite 3 and its mixture of experts."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="granite",
            config=f"{__name__}.config:GraniteConfig",
            model=f"{__name__}.model:Granite",
            formats={"hf": f"{__name__}.hf:GRANITE", "gguf": f"{__name__}.gguf:GRANITE"},
            hf_types=("granite",),
            summary="LLaMA's block with factors on embeddings, scores, branches and logits",
        ),
        Family(
            name="granitemoe",
            config=f"{__name__}.config:GraniteMoEConfig",
            model=f"{__name__}.model:GraniteMoE",
            formats={"hf": f"{__name__}.moe_hf:GRANITE_MOE", "gguf": f"{__name__}.gguf:GRANITE_MOE"},
            hf_types=("granitemoe",),
            summary="Granite's block with 32 or 40 experts, 8 per token",
        ),
    ]
