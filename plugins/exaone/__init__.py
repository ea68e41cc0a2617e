"""EXAONE 3, 3.5, Deep and 4.0."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="exaone",
            config=f"{__name__}.config:ExaoneConfig",
            model=f"{__name__}.model:Exaone",
            formats={"hf": f"{__name__}.first_hf:EXAONE", "gguf": f"{__name__}.gguf:EXAONE"},
            hf_types=("exaone",),
            summary="LLaMA's arithmetic under GPT-2's tensor names",
        ),
        Family(
            name="exaone4",
            config=f"{__name__}.config:Exaone4Config",
            model=f"{__name__}.model:Exaone4",
            formats={"hf": f"{__name__}.hf:EXAONE4", "gguf": f"{__name__}.gguf4:EXAONE4"},
            hf_types=("exaone4",),
            summary="norms behind each branch and on q and k; in the 32B a window, and no positions without it",
        ),
    ]
