"""Mistral and its mixture of experts, Mixtral."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="mistral",
            config=f"{__name__}.config:MistralConfig",
            model=f"{__name__}.model:Mistral",
            formats={"hf": f"{__name__}.hf:MISTRAL", "gguf": f"{__name__}.gguf:MISTRAL"},
            hf_types=("mistral", "ministral"),
            summary="LLaMA's block, with a sliding window in its first release",
        ),
        Family(
            name="mixtral",
            config=f"{__name__}.config:MixtralConfig",
            model=f"{__name__}.model:Mixtral",
            formats={"hf": f"{__name__}.mixtral_hf:MIXTRAL", "gguf": f"{__name__}.gguf:MIXTRAL"},
            hf_types=("mixtral",),
            summary="Mistral's block with 8 experts, 2 per token",
        ),
    ]
