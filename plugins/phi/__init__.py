"""Phi-3, Phi-3.5, Phi-4 and Phi-4-mini."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="phi3",
            config=f"{__name__}.config:Phi3Config",
            model=f"{__name__}.model:Phi3",
            formats={"hf": f"{__name__}.hf:PHI3", "gguf": f"{__name__}.gguf:PHI3"},
            hf_types=("phi3",),
            summary="LLaMA's block in fused matrices; LongRoPE, a window or partial rotation in some sizes",
        ),
    ]
