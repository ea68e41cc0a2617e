"""Gemma 1 to 3: text decoders, and Gemma 3 with its vision tower."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gemma",
            config=f"{__name__}.config:GemmaConfig",
            model=f"{__name__}.model:Gemma",
            formats={"hf": f"{__name__}.hf"},
            hf_types=("gemma", "gemma2", "gemma3_text"),
            summary="(1 + w) RMSNorm, GeGLU, scaled embeddings; local and global layers from Gemma 2 on",
        )
    ]
