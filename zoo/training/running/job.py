"""What a run is asked for: the recipe, what is trained by it, and where."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from zoo.anatomy.config import ModelConfig
from zoo.errors import UsageError
from zoo.training.ranks.refusals import check_over_ranks, check_packed
from zoo.training.running.stages import staged_recipes
from zoo.training.settings import Recipe

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from zoo.training.ranks.division import Division


@dataclass(frozen=True)
class TrainingJob:
    """What is trained, how, and where it goes."""

    recipe: Recipe
    save: str  # the run's folder
    source: str | None = None  # a checkpoint to go on from; None: random weights for `config`
    config: ModelConfig | None = None
    typed: frozenset[str] = field(default_factory=frozenset)  # fields of the config that a tokenizer does not change
    device: str = "cpu"
    dtype: str = "float32"
    format: str | None = None  # of the folder: hf, zoo; None: hf where the family has it, else zoo
    words: tuple[str, ...] = ()  # as typed, for the run's folder
    quantize: str | None = None  # packs the checkpoint's matrices, beside which an adapter learns
    keep_packed: bool = False  # the same with those that the checkpoint has packed
    mesh: DeviceMesh | None = None  # of dp and tp: the ranks that train one model together

    def __post_init__(self) -> None:
        object.__setattr__(self, "save", os.path.expanduser(self.save))
        is_adapter, is_packed = self.recipe.lora.rank is not None, self.quantize is not None or self.keep_packed
        if is_packed and not is_adapter:
            raise UsageError("packed weights do not learn", hint="type lora=16 for an adapter beside them")
        if is_adapter and self.source is None:
            why = "an adapter's folder does not hold the weights that it stands beside, and these would be random"
            raise UsageError("lora needs a checkpoint", why=why, hint="name a folder, or a model with weights")
        if self.division is not None:
            check_over_ranks(self.recipe, self.division.layout)
            if is_packed:
                check_packed(self.division.layout)

    @cached_property
    def division(self) -> Division | None:
        """Which part of the run is this rank's; None for one process."""
        if self.mesh is None:
            return None
        from zoo.training.ranks.division import Division  # which takes a second to import, and one process needs none

        return Division(self.mesh)

    @cached_property
    def stages(self) -> list[Recipe]:
        """The recipe of each stage, one where nothing is said of stages."""
        return staged_recipes(self.recipe)
