"""StarCoder2; StarCoder is a GPT-2 of another kind."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="starcoder2",
            config=f"{__name__}.config:StarCoder2Config",
            model=f"{__name__}.model:StarCoder2",
            formats={"hf": f"{__name__}.hf:STARCODER2", "gguf": f"{__name__}.gguf:STARCODER2"},
            hf_types=("starcoder2",),
            summary="GPT-2's norms and MLP with grouped-query attention, rotary positions and a window",
        ),
    ]
