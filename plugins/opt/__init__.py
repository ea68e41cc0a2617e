"""OPT and Galactica."""

from zoo import Family, hookimpl


@hookimpl
def zoo_families():
    return [
        Family(
            name="opt",
            config=f"{__name__}.config:OPTConfig",
            model=f"{__name__}.model:OPT",
            formats={"hf": f"{__name__}.hf:OPT"},
            hf_types=("opt",),
            summary="GPT-2's block with ReLU and positions that begin at 2; norms behind in the 350M",
        ),
    ]
