"""SmolLM3; the SmolLMs before it are LLaMAs."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="smollm3",
            config=f"{__name__}.config:SmolLM3Config",
            model=f"{__name__}.model:SmolLM3",
            formats={"hf": f"{__name__}.hf:SMOLLM3", "gguf": f"{__name__}.gguf:SMOLLM3"},
            hf_types=("smollm3",),
            summary="LLaMA's block, every fourth layer without rotary positions",
        ),
    ]
