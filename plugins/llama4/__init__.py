"""Llama 4, Scout and Maverick."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="llama4",
            config=f"{__name__}.config:Llama4Config",
            model=f"{__name__}.model:Llama4",
            formats={"hf": f"{__name__}.hf:LLAMA4", "gguf": f"{__name__}.gguf:LLAMA4"},
            hf_types=("llama4_text",),
            summary="attention in chunks, over all and without positions in every fourth layer, and experts",
        ),
        Family(
            name="llama4_vl",
            config=f"{__name__}.vl.config:Llama4VLConfig",
            model=f"{__name__}.vl.model:Llama4VL",
            formats={"hf": f"{__name__}.vl.hf:LLAMA4_VL"},
            hf_types=("llama4",),
            pictures=f"{__name__}.vl.pictures:read",
            summary="Llama 4 with its tower, which reads images as tiles",
        ),
    ]
