"""Mamba-2: a language model that carries a state instead of looking back."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="mamba2",
            config=f"{__name__}.config:Mamba2Config",
            model=f"{__name__}.model:Mamba2",
            formats={"hf": f"{__name__}.hf:MAMBA2"},
            hf_types=("mamba2",),
            summary="selective state space with a scalar decay per head, no attention, no MLP",
        )
    ]


@hookimpl
def zoo_config_packages():
    return [f"{__name__}.conf"]
