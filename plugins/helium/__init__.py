"""Helium 1."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="helium",
            config=f"{__name__}.config:HeliumConfig",
            model=f"{__name__}.model:Helium",
            formats={"hf": f"{__name__}.hf:HELIUM"},
            hf_types=("helium",),
            summary="LLaMA's block and tensor names, but interleaved pairs rotary, and norms that are cast last",
        ),
    ]
