"""A model as a notebook shows it: what it is, by arithmetic and by counting its own parameters."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zoo.anatomy.size import Size
from zoo.errors import ZooError, clean
from zoo.report.notebook import facts
from zoo.units import human_bytes, human_count


def as_html(model: Any) -> str:
    """Family, where the weights are from, traits, and the parameters that the module holds, tied ones once."""
    parameters = [*model.parameters()]
    dtypes = Counter(str(p.dtype).removeprefix("torch.") for p in parameters)
    devices = sorted({str(p.device) for p in parameters})
    count = sum(p.numel() for p in parameters)
    nbytes = sum(p.numel() * p.element_size() for p in parameters)
    ledger = model.__dict__.get("ledger")
    rows = [
        ("weights", f"from {clean(ledger.source, 200)}" if ledger is not None else "not loaded: built from a config"),
        *_traits(model.config),
        ("parameters", f"{human_count(count)} in {len(parameters)} tensors, {human_bytes(nbytes)}"),
        ("dtype", ", ".join(f"{dtype} ({number})" for dtype, number in dtypes.items())),
        ("device", ", ".join(devices)),
    ]
    layers = getattr(model.config, "num_layers", None)
    shape = "" if layers is None else f" · {layers} layer{'s' * (layers != 1)}"
    return facts(f"{model.config.family} · {type(model).__name__}{shape}", rows)


def _traits(config: Any) -> list[tuple[str, str]]:
    try:
        return [*Size.of(config).anatomy.traits.items()]
    except ZooError:  # a family that is known by building it only
        return []
