"""The model that an adapter is put beside: its weights in zoo's names, and what transformers calls them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from zoo.adapters.file.patterns import ends_with
from zoo.anatomy.config import ModelConfig
from zoo.anatomy.records import Shape
from zoo.registry.family import Family
from zoo.weights.table import Identity, Step, Table, foreign_shapes

NESTED = (  # how transformers 5 has names of files in memory, of models that see
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^model\.", "model.language_model."),
    (r"^visual\.", "model.visual."),
)
_ATTENTION = (  # of models of pictures, whose heads it renamed
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
)
_LAYER = (
    (r"(^|\.)encoder\.layer\.(\d+)\.", r"\1layers.\2."),
    *_ATTENTION,
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
RENAMED = (_LAYER, _ATTENTION)  # each all at once; the first that the table takes for the same name
_SNAPSHOT = re.compile(r"models--([^/]+)--([^/]+)")  # a folder in the cache of the hub


@dataclass(frozen=True)
class AdaptedBase:
    """A family's model of some config; `names` are what the base is known by."""

    family: Family
    config: ModelConfig
    shapes: Mapping[str, Shape]
    source: str
    names: tuple[str, ...] = ()
    is_nested: bool | None = None  # whether transformers has the text beside other parts; None: where the model sees

    @cached_property
    def tables(self) -> list[ForeignNames]:
        """Transformers' names first, then zoo's own."""
        tables = [self.family.dialect("hf").table(self.config)] if "hf" in self.family.formats else []
        is_nested = self.is_nested
        if is_nested is None:
            is_nested = any(weight.role == "vision" for weight in self.config.anatomy().weights)
        return [ForeignNames(table, self.shapes, is_nested) for table in (*tables, Identity())]

    def is_called(self, name: str) -> bool | None:
        """Whether the base goes by a name that an adapter's settings give; None where one of the two has none."""
        known = {_last(known) for known in self.names if known}
        return None if not name or not known else _last(name) in known


@dataclass(frozen=True)
class ForeignNames:
    """The foreign side of a table: which step each tensor belongs to, and its shape."""

    table: Table
    shapes: Mapping[str, Shape]
    is_nested: bool = True  # whether transformers has the text beside other parts, under a name of its own

    @cached_property
    def steps(self) -> list[Step]:
        return [*self.table.every_step(self.shapes)]

    @cached_property
    def places(self) -> dict[str, tuple[Step, Shape]]:
        """A foreign tensor -> the step that reads it and the shape that it must have; the first rule's, where many."""
        found: dict[str, tuple[Step, Shape]] = {}
        for step in self.steps:
            for name, shape in foreign_shapes(step, self.shapes).items():
                found.setdefault(name, (step, shape))
        return found

    @cached_property
    def order(self) -> dict[str, int]:
        """The place of each foreign tensor in the table."""
        return {name: i for i, name in enumerate(self.places)}

    @cached_property
    def ways(self) -> dict[str, list[Step]]:
        """The steps that could yield each of our weights."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            for name in step.ours:
                found.setdefault(name, []).append(step)
        return found

    @cached_property
    def copies(self) -> dict[str, str]:
        """Tensors that are another one under a second name, such as a tied head."""
        return {alias.theirs: alias.of for alias in self.table.aliases}

    def is_of_files_alone(self, step: Step) -> bool:
        """Whether it names a stack of experts as a module's weight: in memory such a stack is a parameter by itself."""
        return any(name.endswith(".weight") and len(self.places[name][1]) == 3 for name in step.theirs)

    def other_readers(self, name: str) -> list[str]:
        """The embeddings of tokens by which transformers reads a tensor under another name, as T5's two stacks do.

        What peft puts beside the first of them, those do not see.
        """
        readers = [copy for copy, of in self.copies.items() if of == name and copy.endswith(".weight")]
        return [copy for copy in readers if "embed" in copy.split(".")[-2]]

    def spelt(self, name: str) -> str:
        """A name of transformers' as the table has it."""
        return self.table.spelling(name) if self.table.spelling else name

    def in_memory(self, name: str) -> str:
        """What transformers calls a tensor of the table once it is loaded: files of models that see differ."""
        for renamings in (*(((rule,) for rule in NESTED) if self.is_nested else ()), *RENAMED):
            other = name
            for old, new in renamings:
                other = re.sub(old, new, other)
            if other != name and self.spelt(other) == name:
                return other
        return name

    def shortest(self, modules: Iterable[str]) -> list[str] | str:
        """How peft is told of these modules: by the last words of their names, where no other module ends in one.

        Else by the whole names, or, where others end in one of these, by a pattern that is each of them.
        """
        asked = {*modules}
        ends = {name.rpartition(".")[2] for name in asked}
        matrices = [
            self.in_memory(n) for n, (_, shape) in self.places.items() if n.endswith(".weight") and len(shape) == 2
        ]
        ending = {name.removesuffix(".weight") for name in matrices if name.split(".")[-2] in ends}
        if ending == asked:
            return sorted(ends)
        is_plain = not any(ends_with(name, asked) for name in ending - asked)
        return sorted(asked) if is_plain else "|".join(map(re.escape, sorted(asked)))


def _last(name: str) -> str:
    """The last word of a path or of org/name, in lower case."""
    if found := _SNAPSHOT.search(name):
        return found[2].lower()
    return name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].lower()
