"""A family as a stranger might publish it: small, by hand, and right. Tests plant single faults in copies of it."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="stranger",
            config=f"{__name__}.config:StrangerConfig",
            model=f"{__name__}.model:Stranger",
            formats={"hf": f"{__name__}.hf:STRANGER"},
            hf_types=("stranger",),
            summary="learned positions and one fused projection",
        )
    ]


@hookimpl
def zoo_config_packages():
    return [f"{__name__}.conf"]
