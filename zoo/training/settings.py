"""What a training run is asked for: the sections of conf/train.yaml as records. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from zoo.anatomy.config import typed
from zoo.errors import UsageError, clean, did_you_mean
from zoo.training.limits import within
from zoo.training.lora import LoraSettings

PACKINGS = ("masked", "plain", "none")
SCHEDULES = ("cosine", "linear", "wsd", "constant")
ORDERS = ("shuffled", "sequential", "random")


@dataclass(frozen=True)
class TrainSettings:
    """How long, how much at once, and in which numbers."""

    steps: int = 1000  # updates in all
    batch_size: int = 8  # rows of one pass
    accumulate: int = 1  # passes of one update; every token weighs alike
    clip: float | None = 1.0  # most norm of the gradient; null: as it is
    autocast: str | None = None  # bfloat16: compute in it, weights stay as they are
    recompute: bool = False  # each layer again in the backward pass: less memory, the same gradients
    compile: bool = False  # the forward pass
    ema: float | None = None  # decay of a mean of the weights, which is then what is saved
    stop: int | None = None  # end after this step of them, to go on later with --resume
    save_every: int | None = None  # steps from one checkpoint to the next; null: at the end
    log_every: int = 10  # steps from one line to the next
    evaluate_every: int | None = None  # steps from one look at data.validation to the next; null: at the end
    patience: int | None = None  # looks without a better one before training ends; the best weights are kept
    callback: str | None = None  # MODULE:FUNCTION or FILE.py:FUNCTION of yours, called with each record

    @property
    def last(self) -> int:
        """The step after which this ends."""
        return min(self.stop or self.steps, self.steps)


@dataclass(frozen=True)
class OptimizerSettings:
    """A rule of torch.optim by name, and its numbers; null where a rule has no such number."""

    name: str = "adamw"
    lr: float = 1e-3  # at its peak
    weight_decay: float = 0.0  # of matrices; norms and biases have none
    decay: str = "decoupled"  # decoupled: apart from the gradient; l2: added to it
    betas: list[float] | None = None
    eps: float | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate's course, as shares of its peak."""

    name: str = "cosine"
    warmup: int = 0  # steps of a straight rise
    final: float = 0.1  # share at the last step
    decay: float = 0.2  # wsd: share of the steps in which it falls


@dataclass(frozen=True)
class DataSettings:
    """What is trained on, and how it becomes rows."""

    files: list[str] | None = None  # .txt, .jsonl, token files .npy and .bin; .parquet and folders through `datasets`
    validation: list[str] | None = None  # the same, to measure with
    length: int | None = None  # tokens of a row; null: the model's context, 512 at most
    packing: str = "masked"  # masked: documents share rows and do not see each other; plain: they do; none
    order: str = "shuffled"  # shuffled: a permutation each epoch; sequential; random: windows from anywhere
    separator: str | None = None  # what stands between the documents of a text file; null: it is one document
    field: str = "text"  # of a JSON object: the text
    token_dtype: str = "uint16"  # of .bin files
    row_starts: str | None = None  # order=random: half of the rows begin behind this text, with the token of beginning


@dataclass(frozen=True)
class TokenizerSettings:
    """Whose tokens, or how they are learnt."""

    source: str | None = None  # a folder, a file, a name; null: the model's own
    train: str | None = None  # bpe, wordpiece or unigram: learnt from the data
    vocab_size: int = 8192  # of one that is learnt


@dataclass(frozen=True)
class Recipe:
    """All of it. `objective` has the keys of its own file in conf/objective, `name` among them."""

    train: TrainSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    data: DataSettings
    tokenizer: TokenizerSettings
    objective: Mapping[str, Any]
    seed: int = 0
    lora: LoraSettings = field(default_factory=LoraSettings)
    freeze: tuple[str, ...] = ()  # roles and patterns of what does not learn
    stages: tuple[Mapping[str, Any], ...] = ()  # sections that replace these, one run after the other

    def __post_init__(self) -> None:
        t = self.train
        counts = {"train.steps": t.steps, "train.batch_size": t.batch_size, "train.accumulate": t.accumulate}
        counts |= {"train.log_every": t.log_every, "train.save_every": t.save_every, "train.stop": t.stop}
        counts |= {"train.evaluate_every": t.evaluate_every, "train.patience": t.patience}
        counts |= {"data.length": self.data.length, "tokenizer.vocab_size": self.tokenizer.vocab_size}
        for name, value in counts.items():
            within(name, value, least=1)
        within("optimizer.lr", self.optimizer.lr, above=0)
        within("train.clip", t.clip, above=0)
        within("seed", self.seed, least=-(2**63), below=2**63)
        if t.ema is not None and not 0 < t.ema < 1:
            raise UsageError(f"train.ema={t.ema} is not between 0 and 1", hint="0.999 is usual")
        within("optimizer.weight_decay", self.optimizer.weight_decay, least=0)
        if (betas := self.optimizer.betas) is not None and len(betas) != 2:
            raise UsageError(
                f"optimizer.betas={betas} are not two numbers", hint="for example optimizer.betas=[0.9,0.95]"
            )
        for name, number in {"schedule.final": self.schedule.final, "schedule.decay": self.schedule.decay}.items():
            if not 0 <= number <= 1:
                raise UsageError(f"{name}={number} is not a share, from 0 to 1")
        if t.autocast not in (None, "bfloat16"):
            hint = "train.autocast=bfloat16, or null; dtype= sets the type of the weights"
            raise UsageError(f"train.autocast={t.autocast!r} is not bfloat16", hint=hint)
        if not 0 <= self.schedule.warmup <= t.steps:
            raise UsageError(f"schedule.warmup={self.schedule.warmup} is not from 0 to train.steps={t.steps}")
        if self.lora.rank is not None and self.freeze:
            raise UsageError("freeze and lora", why="beside an adapter, all weights of the model stay as they are")
        if self.lora.rank is not None and self.objective.get("name") == "reward":
            what = "objective=reward with lora: an adapter's folder has no place for the head of the reward"
            raise UsageError(what, hint="leave lora out; freeze= keeps parts of the model as they are")
        one_of("schedule.name", self.schedule.name, SCHEDULES)
        one_of("data.packing", self.data.packing, PACKINGS)
        one_of("data.order", self.data.order, ORDERS)
        if self.data.separator == "":
            raise UsageError("data.separator is empty", hint="leave it out where a file is one document")
        one_of("optimizer.decay", self.optimizer.decay, ("decoupled", "l2"))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that composed sections describe. Raises ConfigError or UsageError for what is no setting."""
        kinds: dict[str, Any] = {f: SECTIONS[f] for f in SECTIONS}
        sections = {name: typed(kind, _listed(name, values.get(name) or {}), name) for name, kind in kinds.items()}
        return cls(
            **sections,
            objective=dict(values.get("objective") or {"name": "causal"}),
            seed=typed(int, values.get("seed", 0), "seed"),
            freeze=tuple(typed(list[str], _as_list(values.get("freeze")), "freeze")),
            stages=tuple(read_stages(values.get("stages"))),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}


SECTIONS: dict[str, Any] = {
    "train": TrainSettings, "optimizer": OptimizerSettings, "schedule": ScheduleSettings, "data": DataSettings,
    "tokenizer": TokenizerSettings, "lora": LoraSettings,
}  # fmt: skip


def read_stages(value: Any) -> Sequence[Mapping[str, Any]]:
    """Stages as they were typed, a list, or the name of a YAML file that holds one."""
    if value is None:
        return ()
    if isinstance(value, str):
        try:
            value = yaml.safe_load(Path(value).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UsageError(f"stages={value} cannot be read: {clean(error, 200)}") from None
    if not isinstance(value, list) or not value or not all(isinstance(stage, Mapping) for stage in value):
        raise UsageError(
            "stages is not a list of groups of keys", hint="for example '[{freeze: [vision]}, {freeze: []}]'"
        )
    return value


def one_of(path: str, value: str, known: tuple[str, ...]) -> None:
    """Raise UsageError for a word that is not among those known."""
    if value not in known:
        raise UsageError(f"{path}={value!r} is not known", why=did_you_mean(str(value), known))


def _listed(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """One file, or one role, is a list of one."""
    lists = {"data": ("files", "validation"), "lora": ("targets",)}.get(section, ())
    return {k: _as_list(v) if k in lists and v is not None else v for k, v in values.items()}


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
