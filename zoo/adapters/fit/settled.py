"""Every tensor of an adapter in its place beside a base's weights, or named as one that has none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from zoo.adapters.file.folder import AdapterFolder
from zoo.adapters.file.patterns import endings, ends_with
from zoo.adapters.file.tensors import FactorPair
from zoo.adapters.fit.base import AdaptedBase, ForeignNames
from zoo.adapters.fit.expected import expected_modules, is_asked_for
from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean, some
from zoo.files.tensor_info import TensorInfo
from zoo.weights.account import grouped
from zoo.weights.table import Step

BASE_NAME = "base_model_name_or_path"
HEADS = re.compile(r"(?:.*\.)?(?:lm_head|embed|embedding|decoder)\b.*")  # what peft saves beside adapters of embeddings


@dataclass(frozen=True)
class PlacedPair:
    """A pair of factors and the foreign tensor to which their product is added."""

    pair: FactorPair
    step: Step
    name: str  # of the foreign tensor, in the table's spelling
    shape: Shape
    rank: int
    scaling: float

    @property
    def count(self) -> int:
        """Matrices that lie in the tensor: one, or as many as there are experts."""
        return self.shape[0] if len(self.shape) == 3 else 1


@dataclass
class AdapterFit:
    """An adapter beside a base: what goes where, and what does not fit."""

    adapter: AdapterFolder
    base: AdaptedBase
    names: ForeignNames
    pairs: list[PlacedPair] = field(default_factory=list)
    whole: dict[str, TensorInfo] = field(default_factory=dict)  # foreign tensor, in the table's spelling -> the file's
    copies: dict[str, TensorInfo] = field(default_factory=dict)  # second ones of these, which must be equal
    problems: list[tuple[str, str, str]] = field(default_factory=list)  # kind, name, what
    notes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise CheckpointError, with all that does not fit, unless everything does."""
        if not self.problems:
            return
        by_what: dict[tuple[str, str], list[str]] = {}
        for kind, name, what in self.problems:
            by_what.setdefault((kind, what), []).append(name)
        rows = [(kind, name, what) for (kind, what), names in by_what.items() for name in grouped(names)]
        lines = [f"  {kind:10}  {clean(name)}  {what}" for kind, name, what in rows[:8]]
        lines += [f"  and {len(rows) - 8} more groups"] if len(rows) > 8 else []
        what = f"does not fit {clean(self.base.source, 200)}, a {self.base.family.name} ({len(self.problems)} problems)"
        raise CheckpointError(self.adapter.path, "", what, why="\n".join(lines), hint=self._advice())

    def _advice(self) -> str:
        if any(kind == "other base" for kind, _, _ in self.problems):
            return f"  if it is the same model under another name: --allow {BASE_NAME}"
        return ""


def settle(adapter: AdapterFolder, base: AdaptedBase, allow: Iterable[str] = ()) -> AdapterFit:
    """Where each tensor of `adapter` goes beside `base`; ask `check()` whether all of it fits.

    `allow` are shell patterns of tensors that may be left out, and `base_model_name_or_path`.
    """
    patterns = tuple(pattern for word in allow for pattern in word.split(",") if pattern)
    tables = sorted(base.tables, key=lambda names: -sum(bool(_candidates(adapter, names, p)) for p in adapter.pairs))
    fit = AdapterFit(adapter, base, tables[0])
    for pair in adapter.pairs:
        _place(fit, pair)
    for name, info in adapter.whole.items():
        _place_whole(fit, name, info)
    _find_missing(fit)
    _check_name(fit)
    let = [problem for problem in fit.problems if any(fnmatchcase(problem[1], pattern) for pattern in patterns)]
    fit.problems = [problem for problem in fit.problems if problem not in let]
    fit.notes += [f"adapter: {kind} {clean(name)} {what}, but allowed" for kind, name, what in let[:8]]
    return fit


def _candidates(adapter: AdapterFolder, names: ForeignNames, pair: FactorPair) -> list[str]:
    """The foreign tensors that a pair may belong to."""
    own = names.spelt(f"{pair.module}.weight")
    if own in names.places:
        return [own]
    inner = [names.spelt(f"{pair.module}.{parameter.rpartition('.')[2]}") for parameter in adapter.settings.parameters]
    return sorted((name for name in {*inner} if name in names.places), key=names.order.__getitem__)


def _place(fit: AdapterFit, pair: FactorPair) -> None:
    settings = fit.adapter.settings
    found = _candidates(fit.adapter, fit.names, pair)
    if not found:
        copy = fit.names.copies.get(fit.names.spelt(f"{pair.module}.weight"))
        fit.problems.append(("unexpected", pair.module, f"the base ties it to {copy}" if copy else "no such weight"))
        return
    fitting = [name for name in found if _fits(pair, fit.names.places[name][1])]
    if len(fitting) > 1:  # peft wraps a module once for each parameter, the first one innermost
        fitting = [name for name in fitting if name == found[len(found) - 1 - pair.depth]]
    if len(fitting) != 1:
        shapes = some([str(list(fit.names.places[name][1])) for name in found])
        what = f"A {list(pair.a.shape)} and B {list(pair.b.shape)} for {shapes}"
        fit.problems.append(("mismatched", pair.module, what))
        return
    step, shape = fit.names.places[fitting[0]]
    count = shape[0] if len(shape) == 3 else 1
    rank = pair.a.shape[0] // count
    leaf = fitting[0].rpartition(".")[2]
    is_parameter = leaf != "weight" or ends_with(f"{pair.module}.weight", settings.parameters)
    module = f"{pair.module}.{leaf}" if is_parameter else pair.module
    if others := fit.names.other_readers(fitting[0]):
        fit.problems.append(("mismatched", pair.module, _read_by(others)))
    elif rank != settings.rank_of(module):
        what = f"rank {rank} in the file, {settings.rank_of(module)} in the settings"
        fit.problems.append(("mismatched", pair.module, what))
    elif ("magnitude" in pair.parts) != settings.is_dora:
        what = "has no magnitude for DoRA" if settings.is_dora else "has a magnitude, but the settings say no DoRA"
        fit.problems.append(("mismatched", pair.module, what))
    elif settings.is_dora and (pair.is_embedding or count > 1 or pair.parts["magnitude"].shape != pair.b.shape[:1]):
        fit.problems.append(("mismatched", pair.module, "zoo computes DoRA of linear layers only"))
    elif not is_asked_for(settings, module):
        fit.problems.append(("unexpected", pair.module, "the settings do not name it"))
    else:
        fit.pairs.append(PlacedPair(pair, step, fitting[0], shape, rank, settings.scaling_of(module)))


def _fits(pair: FactorPair, shape: Shape) -> bool:
    """Whether B A, or its transpose, has the shape of the tensor."""
    n_in, n_out = pair.a.shape[1], pair.b.shape[0]
    if len(shape) == 3:
        return pair.a.shape[0] % shape[0] == 0 and set(shape[1:]) == {n_in, n_out} and not pair.is_embedding
    return shape == (n_in, n_out) if pair.is_embedding else shape in ((n_out, n_in), (n_in, n_out))


def _place_whole(fit: AdapterFit, name: str, info: TensorInfo) -> None:
    settings, spelt = fit.adapter.settings, fit.names.spelt(name)
    module, _, leaf = name.rpartition(".")
    if (of := fit.names.copies.get(spelt)) is not None:
        fit.copies[spelt], spelt = info, of
    if spelt not in fit.names.places:
        fit.problems.append(("unexpected", name, "no such weight"))
        return
    step, shape = fit.names.places[spelt]
    is_saved = any(ends_with(module[:end], settings.saved) for end in _ends(module))
    is_bias = leaf == "bias" and settings.bias != "none"
    if not (is_saved or is_bias or all(HEADS.fullmatch(ours) for ours in step.ours)):
        fit.problems.append(("unexpected", name, "modules_to_save does not name it"))
    elif info.shape != shape:
        fit.problems.append(("mismatched", name, f"{list(info.shape)}, expected {list(shape)}"))
    elif is_saved and (others := fit.names.other_readers(spelt)):
        fit.problems.append(("mismatched", name, _read_by(others)))
    else:
        fit.whole.setdefault(spelt, info)


def _read_by(others: list[str]) -> str:
    return f"transformers reads it by {some(others)} too, beside which there is no adapter; zoo has one module for all"


def _ends(module: str) -> list[int]:
    return [*(i for i, c in enumerate(module) if c == "."), len(module)]


def _find_missing(fit: AdapterFit) -> None:
    placed = {one.name for one in fit.pairs}
    known = {name.removesuffix(".weight") for name in placed}
    bad = {fit.names.spelt(name) for _, name, _ in fit.problems}
    for module in expected_modules(fit.adapter, fit.names, placed):
        if module not in known and module not in bad:
            fit.problems.append(("missing", module, "the settings name it, but it has no lora_A and lora_B"))
    there: dict[str, list[str]] = {parameter: [] for parameter in fit.adapter.settings.parameters}
    whole = {fit.names.spelt(parameter): parameter for parameter in there}  # of a name in full, however it is spelt
    for name in fit.names.places:
        for end in {*endings(name), whole.get(name, "")}:
            if end in there:
                there[end].append(name)
    for parameter, named in there.items():
        lost = [name for name in named if name not in placed]
        if lost or not named:
            fit.problems.append(("missing", lost[0] if lost else parameter, "target_parameters names it"))
    for module in fit.adapter.settings.saved:
        needed = [n for n in fit.names.places if f".{module}." in f".{n}"]
        if not needed or any(name not in fit.whole for name in needed):
            lost = next((name for name in needed if name not in fit.whole), module)
            fit.problems.append(("missing", lost, "modules_to_save names it"))


def _check_name(fit: AdapterFit) -> None:
    name = fit.adapter.settings.base
    if fit.base.is_called(name) is False:
        known = some(sorted({clean(known) for known in fit.base.names if known}), 2)
        fit.problems.append(("other base", BASE_NAME, f"it was made for {clean(name)}, and the base is {known}"))
