"""CodeGen: a decoder whose attention and MLP read the same normed state."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="codegen",
            config=f"{__name__}.config:CodeGenConfig",
            model=f"{__name__}.model:CodeGen",
            formats={"hf": f"{__name__}.hf:CODEGEN"},
            hf_types=("codegen",),
            summary="attention and MLP in parallel after one norm, rotary on a share of each head",
        )
    ]


@hookimpl
def zoo_config_packages():
    return [f"{__name__}.conf"]
