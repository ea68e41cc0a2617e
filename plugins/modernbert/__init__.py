"""ModernBERT: a pre-norm encoder with rotary positions, most of whose layers see a window on both sides."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="modernbert",
            config=f"{__name__}.config:ModernBertConfig",
            model=f"{__name__}.model:ModernBert",
            formats={"hf": f"{__name__}.hf:MODERNBERT", "gguf": f"{__name__}.gguf:MODERNBERT"},
            hf_types=("modernbert",),
            summary="rotary pre-norm encoder, a two-sided window in most layers; masked-LM and classification heads",
        )
    ]
