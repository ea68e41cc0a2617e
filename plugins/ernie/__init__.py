"""ERNIE 4.5, the dense 0.3B."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="ernie4_5",
            config=f"{__name__}.config:Ernie45Config",
            model=f"{__name__}.model:Ernie45",
            formats={"hf": f"{__name__}.hf:ERNIE4_5", "gguf": f"{__name__}.gguf:ERNIE4_5"},
            hf_types=("ernie4_5",),
            summary="LLaMA's block and tensor names, but interleaved pairs rotary",
        ),
    ]
