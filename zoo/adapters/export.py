"""An adapter beside a model of zoo as a folder of peft: by the names of transformers, or by zoo's own.

The factors go backwards through the table that reads the base. All have one rank and one scaling in what is written:
those of less are filled up with zeros, and what is left of a scaling goes into B, because some readers (vLLM) know no
rank or scaling of a single module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.adapters import peft_library
from zoo.adapters.attaching import Attached, wrappers
from zoo.adapters.factors import Factors, lies, through
from zoo.adapters.file.folder import WEIGHTS
from zoo.adapters.file.tensors import INNER, PREFIX
from zoo.adapters.fit.base import AdaptedBase, ForeignNames
from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError
from zoo.files.folders import ADAPTER
from zoo.files.write import write_folder
from zoo.parallel.gathering import whole
from zoo.registry import installed
from zoo.weights.table import Step, foreign_shapes

FORMATS = ("hf", "zoo")


def save_adapter(model: nn.Module, folder: str | Path, *, format: str = "hf", force: bool = False) -> Path:
    """Write what stands beside the weights of `model`, all or nothing: settings, factors and zoo.json.

    As hf it is read by transformers with peft, vLLM and zoo; as zoo by zoo, and by peft beside the same model of zoo.
    Raises UsageError for a model without an adapter, and for one that the format cannot hold.
    """
    return write_adapter(model, Path(folder).expanduser(), format, force=force)


def write_adapter(
    model: nn.Module,
    folder: Path,
    format: str,
    *,
    force: bool = False,
    unlisted: Mapping[str, Callable[[Path], object] | None] | None = None,
    put: Callable[..., Path] = write_folder,
) -> Path:
    """The same, with files beside it that go on changing, as those of a run: see `write_folder`.

    Of a model that lies over several ranks all must call it, with a `put` that lets one of them write.
    """
    config: Any = getattr(model, "config", None)
    if not isinstance(config, ModelConfig) or not peft_library.is_adapted(model):
        raise UsageError("the model has no adapter", hint="zoo.adapters.adapt(model, 16) makes one")
    if format not in FORMATS:
        raise UsageError(f"an adapter has no format {format!r}", why=f"it has: {', '.join(FORMATS)}")
    family = installed()[config.family]
    if format == "hf" and "hf" not in family.formats:
        raise UsageError(f"{family.name} has no names of transformers", hint="format='zoo'")
    shapes = config.anatomy().shapes()
    base = AdaptedBase(family, config, shapes, "", is_nested=_is_nested(model) or None)
    names = base.tables[0 if format == "hf" else -1]
    found = factors_of(model)
    written = tensors_of(names, found) | _whole(model, names, found)
    settings = _settings(model, names, found)
    return put(
        folder, {n: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for n, t in written.items()},
        written.items(), config=settings, config_name=ADAPTER, weights_name=WEIGHTS, force=force, unlisted=unlisted,
        provenance={"family": family.name, "format": format, "adapter_of": settings["base_model_name_or_path"]},
    )  # fmt: skip


def _is_nested(model: nn.Module) -> bool:
    """Whether the base's own files have the text under a name of its own, beside parts that zoo leaves out."""
    ledger = model.__dict__.get("ledger")
    return ledger is not None and any("language_model." in name for name in ledger.checkpoint.tensors)


def factors_of(model: nn.Module) -> dict[str, Factors]:
    """The factors beside each weight of ours. Raises UsageError for adapters of another kind than LoRA and DoRA."""
    return {name: _of(name, layer) for name, layer in wrappers(model).items()}


def _of(name: str, layer: Any) -> Factors:
    if not hasattr(layer, "lora_A"):
        kind = type(layer).__module__.split(".")[-2]
        what = f"{name}: an adapter of the kind {kind} is not a pair of factors"
        raise UsageError(what, hint="peft saves it by zoo's names: peft.get_peft_model_state_dict(model)")
    if layer.merged:
        raise UsageError(f"{name}: the adapter is merged into its weight", hint="zoo.save writes the merged model")
    key = peft_library.NAME
    scaling, is_embedding = layer.scaling[key], key in layer.lora_embedding_A
    if is_embedding:
        a, b = whole(layer.lora_embedding_A[key].detach()), whole(layer.lora_embedding_B[key].detach())
        return Factors(a[None], b[None], scaling, None, is_embedding=True)
    rank = layer.r[key]
    a = whole(layer.lora_A[key].weight.detach()).unflatten(0, (-1, rank))
    b = whole(layer.lora_B[key].weight.detach()).unflatten(1, (rank, -1)).permute(2, 0, 1)
    magnitude = whole(layer.lora_magnitude_vector[key].weight.detach()) if key in layer.lora_magnitude_vector else None
    return Factors(a, b, scaling, magnitude)


def tensors_of(names: ForeignNames, found: Mapping[str, Factors]) -> dict[str, Tensor]:
    """The tensors of a folder, of one rank and one scaling."""
    rank, scaling = common(foreign := backwards(names, found))
    out: dict[str, Tensor] = {}
    depths: Counter[str] = Counter()
    for name in sorted(
        foreign, key=names.order.__getitem__, reverse=True
    ):  # the last parameter of a module stands outermost
        module, _, leaf = names.in_memory(name).rpartition(".")
        is_parameter = leaf != "weight"
        at = PREFIX + module + INNER * (depths[module] if is_parameter else 0)
        depths[module] += is_parameter
        one = foreign[name]
        more = rank - one.rank
        b = pad(one.b, (0, more)) * (one.scaling / scaling)
        a = pad(one.a, (0, 0, 0, more))
        if one.is_embedding:
            out |= {f"{at}.lora_embedding_A": a[0], f"{at}.lora_embedding_B": b[0]}
            continue
        if lies(name):
            a, b = b.mT, a.mT
        out |= {f"{at}.lora_A.weight": a.flatten(0, 1), f"{at}.lora_B.weight": b.permute(1, 2, 0).flatten(1)}
        if one.magnitude is not None:
            out[f"{at}.lora_magnitude_vector"] = one.magnitude
    return {name: out[name].contiguous() for name in sorted(out)}


def common(found: Mapping[str, Factors]) -> tuple[int, float]:
    """The largest rank, and the scaling that most have."""
    scalings = Counter(one.scaling for one in found.values())
    return max(one.rank for one in found.values()), scalings.most_common(1)[0][0]


def backwards(names: ForeignNames, found: Mapping[str, Factors]) -> dict[str, Factors]:
    """Foreign factors of ours."""
    out: dict[str, Factors] = {}
    done: set[str] = set()
    for name in found:
        if name in done:
            continue
        step = min(names.ways[name], key=lambda way: (len(way.theirs) - len(way.ours), names.is_of_files_alone(way)))
        done.update(step.ours)
        read = {i: found[ours] for i, ours in enumerate(step.ours) if ours in found}
        if any(one.magnitude is not None for one in read.values()) and len(read) < len(step.ours):
            what = f"{step.theirs[0]}: transformers has in one matrix what DoRA scales only in part"
            raise UsageError(what, hint="adapt all parts of it, or format='zoo'")
        back = Step(step.theirs, step.ours, ~step.op)
        out |= through(back, read, foreign_shapes(step, names.shapes), "the adapter")
    return out


def _settings(model: nn.Module, names: ForeignNames, found: Mapping[str, Factors]) -> dict[str, Any]:
    """adapter_config.json."""
    foreign = backwards(names, found)
    rank, scaling = common(foreign)
    called = {name: names.in_memory(name) for name in foreign}
    modules = [name.removesuffix(".weight") for name in called.values() if name.endswith(".weight")]
    attached: Attached = model.__dict__.get("adapter") or Attached("")
    config = peft_library.library().LoraConfig(
        r=rank, lora_alpha=scaling * rank, use_dora=any(one.magnitude is not None for one in found.values()),
        target_modules=names.shortest(modules), inference_mode=True, base_model_name_or_path=attached.base or None,
        target_parameters=[name for name in called.values() if not name.endswith(".weight")] or None,
        task_type="CAUSAL_LM" if hasattr(model, "new_cache") and not hasattr(model, "conditioned") else None,
        modules_to_save=sorted({n.rpartition(".")[0] for n in _saved(model, names)}) or None,
    )  # fmt: skip
    told = {name: value for name, value in config.to_dict().items() if not name.startswith("_")}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in told.items()}


def _saved(model: nn.Module, names: ForeignNames) -> dict[str, Step]:
    """Foreign tensors that the adapter brought whole."""
    attached: Attached = model.__dict__.get("adapter") or Attached("")
    steps = {names.ways[name][0].ours: names.ways[name][0] for name in attached.whole}
    return {names.in_memory(theirs): step for step in steps.values() for theirs in step.theirs}


def _whole(model: nn.Module, names: ForeignNames, found: Mapping[str, Factors]) -> dict[str, Tensor]:
    out = {}
    for name, step in _saved(model, names).items():
        if name.endswith(".bias") and f"{step.ours[0].removesuffix('.bias')}.weight" in found:
            raise UsageError(
                f"{name}: a bias beside factors is not written", hint="zoo.adapters.merge(model), zoo.save"
            )
        theirs = step.op.dump([model.get_parameter(ours).detach() for ours in step.ours])
        out[PREFIX + name] = theirs[[names.in_memory(one) for one in step.theirs].index(name)].contiguous()
    return out
