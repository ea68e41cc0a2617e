"""The sandbox: one decoder whose position, norm, block, attention and MLP are chosen apart, for mixing them."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="decoder",
            config=f"{__name__}.config:SandboxConfig",
            model=f"{__name__}.model:Sandbox",
            summary="position, norm, block, attention and MLP chosen apart",
        )
    ]
