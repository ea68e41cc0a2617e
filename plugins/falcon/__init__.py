"""Falcon 7B, 40B, 180B, RefinedWeb and Falcon 2."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="falcon",
            config=f"{__name__}.config:FalconConfig",
            model=f"{__name__}.model:Falcon",
            formats={"hf": f"{__name__}.hf:FALCON", "gguf": f"{__name__}.gguf:FALCON"},
            hf_types=("falcon", "RefinedWeb", "RefinedWebModel"),
            summary="attention and MLP side by side without biases, few key/value heads; ALiBi in RefinedWeb",
        ),
    ]
