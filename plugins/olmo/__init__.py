"""OLMo 2 and OLMo 3."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="olmo2",
            config=f"{__name__}.config:Olmo2Config",
            model=f"{__name__}.model:Olmo2",
            formats={"hf": f"{__name__}.hf:OLMO2", "gguf": f"{__name__}.gguf:OLMO2"},
            hf_types=("olmo2", "olmo3"),
            summary="norms behind each branch and over all of q and k; in OLMo 3 a window in most layers",
        ),
    ]
