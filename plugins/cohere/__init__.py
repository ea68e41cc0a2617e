"""Command R, Command R+, Aya and, with a window, Command R7B and Command A."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="cohere",
            config=f"{__name__}.config:CohereConfig",
            model=f"{__name__}.model:Cohere",
            formats={"hf": f"{__name__}.hf:COHERE", "gguf": f"{__name__}.gguf:COHERE"},
            hf_types=("cohere", "cohere2"),
            summary="attention and SwiGLU side by side behind one LayerNorm, interleaved pairs rotary, scaled logits",
        ),
    ]
