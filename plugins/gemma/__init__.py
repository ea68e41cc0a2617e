"""Gemma 1 to 4: text decoders, and Gemma 3 and 4 with their towers for images."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="gemma",
            config=f"{__name__}.config:GemmaConfig",
            model=f"{__name__}.model:Gemma",
            formats={"hf": f"{__name__}.hf:GEMMA", "gguf": f"{__name__}.gguf:GEMMA"},
            hf_types=("gemma", "gemma2", "gemma3_text"),
            summary="(1 + w) RMSNorm, GeGLU, scaled embeddings; local and global layers from Gemma 2 on",
        ),
        Family(
            name="gemma3_vl",
            config=f"{__name__}.vl.config:Gemma3VLConfig",
            model=f"{__name__}.vl.model:Gemma3VL",
            formats={"hf": f"{__name__}.vl.hf:GEMMA3_VL"},
            hf_types=("gemma3",),
            pictures=f"{__name__}.vl.pictures:read",
            summary="Gemma 3 with a SigLIP tower, whose tokens of one image see each other in both directions",
        ),
        Family(
            name="gemma4",
            config=f"{__name__}.four.config:Gemma4Config",
            model=f"{__name__}.four.model:Gemma4",
            formats={"hf": f"{__name__}.four.hf:GEMMA4", "gguf": f"{__name__}.four.gguf:GEMMA4"},
            hf_types=("gemma4_text", "gemma4"),
            summary="the text of Gemma 4: wider heads and a partial rotation in global layers, keys shared, experts",
        ),
        Family(
            name="gemma4_vl",
            config=f"{__name__}.four.vl.config:Gemma4VLConfig",
            model=f"{__name__}.four.vl.model:Gemma4VL",
            formats={"hf": f"{__name__}.four.vl.hf:GEMMA4_VL"},
            hf_types=("gemma4",),
            pictures=f"{__name__}.four.vl.pictures:read",
            summary="Gemma 4 with its tower, which reads images of any shape, a token for each square of patches",
        ),
        Family(
            name="gemma3n",
            config=f"{__name__}.nano.config:Gemma3nConfig",
            model=f"{__name__}.nano.model:Gemma3n",
            formats={"hf": f"{__name__}.nano.hf:GEMMA3N", "gguf": f"{__name__}.nano.gguf:GEMMA3N"},
            hf_types=("gemma3n_text", "gemma3n"),
            summary="the text of Gemma 3n: several residual streams, embeddings per layer, keys shared between layers",
        ),
    ]
