"""The methods by which people know models elsewhere: from_pretrained, save_pretrained, push_to_hub, generate.

Every model that zoo builds or loads has them, and no family's code knows of it: `zoo.build`, `zoo.load` and
`zoo.model_class` give them to the model's class, once, where it has none of that name of its own. The class stays the
one that its author wrote, so that pickling, copying, compiling and exporting see nothing new. A family that wants them
as soon as its module is imported says so in one line: `class Mine(zoo.Pretrained, nn.Module)`.

Imports neither torch nor what loads and saves: the methods ask the public names of zoo when they are called.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    import torch

    from zoo import Ledger, Push
    from zoo.generation import Generation, GenerationConfig
    from zoo.models.trainer_face import TrainerFace
    from zoo.text import Tokenizer

T = TypeVar("T")
METHODS = ("from_pretrained", "save_pretrained", "push_to_hub", "generate", "for_trainer", "_repr_html_")
BROUGHT = ("tokenizer", "generation_config")  # what a model brings from its checkpoint


class Pretrained:
    """Loading, saving, publishing and generating, as methods of a model that has a zoo config in `.config`."""

    config: Any

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer beside the weights, read when it is first asked for. Raises UsageError for a built model."""
        return _ledger_of(self, "tokenizer").tokenizer

    @property
    def generation_config(self) -> GenerationConfig:
        """What the checkpoint says of generation. Raises UsageError for a built model."""
        return _ledger_of(self, "generation_config").settings()[0]

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from zoo.models.shown import as_html

        return as_html(self)

    def generate(self, prompts: Any = None, *, input_ids: torch.Tensor | None = None, **settings: Any) -> Generation:
        """`zoo.generate` with this model; `input_ids` [B, T] are another name of the prompts."""
        import zoo
        from zoo.errors import UsageError

        given = [one for one in (prompts, input_ids) if one is not None]
        if len(given) != 1:
            raise UsageError("prompts and input_ids are two names of one argument", hint="give one of them")
        model: Any = self
        return zoo.generate(model, given[0], **settings)

    def for_trainer(self) -> TrainerFace:
        """The model as transformers' Trainer and trl know one: `input_ids` and `labels` in, `.loss` and `.logits` out.

        It is the same model: what a trainer changes, this one has.
        """
        from zoo.models.trainer_face import TrainerFace

        model: Any = self
        return TrainerFace(model)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *overrides: str,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device = "cpu",
        allow: Iterable[str] = (),
        allow_pickle: bool = False,
        quantize: str | None = None,
        keep_packed: bool = False,
    ) -> Self:
        """`zoo.from_pretrained`, refusing with a CheckpointError what would be a model of another class."""
        import zoo

        kind: Any = cls  # a torch.nn.Module, which this file does not import
        model: Any = zoo.from_pretrained(
            source, *overrides, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
            dtype=dtype, device=device, allow=allow, allow_pickle=allow_pickle, quantize=quantize,
            keep_packed=keep_packed, model_class=kind,
        )  # fmt: skip
        return model

    def save_pretrained(
        self, folder: str | Path, *, max_shard_size: int | str = "5GB", format: str = "hf", force: bool = False
    ) -> Path:
        """`zoo.save`: config, weights and zoo.json in `folder`, all or nothing; `force` replaces what zoo wrote there.

        `max_shard_size` is bytes or 5GB, 200MB, 1GiB. Raises ZooError for a folder that is not zoo's to replace.
        """
        import zoo

        model: Any = self
        return zoo.save(model, folder, format=format, max_shard_size=max_shard_size, force=force)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool = False,
        revision: str | None = None,
        token: str | bool | None = None,
        max_shard_size: int | str = "5GB",
        format: str = "hf",
    ) -> Push:
        """Save to a temporary folder and `zoo.push` that in one commit, whose id is `.commit` of what is returned.

        `revision` is the branch to commit to. Raises NetworkError where the hub refuses.
        """
        import zoo

        with TemporaryDirectory() as parent:
            folder = Pretrained.save_pretrained(
                self, Path(parent) / "model", max_shard_size=max_shard_size, format=format
            )
            return zoo.push(
                folder, repo_id, family=self.config.family, message=commit_message, private=private,
                revision=revision, token=token, allow_pickle=True,
            )  # fmt: skip


def equip(kind: T) -> T:
    """Give a model's class those of the methods that it lacks, and return it; anything else is left alone.

    A forward whose first argument is called tokens takes it as input_ids too.
    """
    if isinstance(kind, type):
        for name in (*METHODS, *BROUGHT):
            if not hasattr(kind, name):
                setattr(kind, name, Pretrained.__dict__[name])
        model: Any = kind
        if "input_ids" not in (names := _arguments(model)) and names[1:2] == ["tokens"]:
            model.forward = _with_input_ids(model.forward)
    return kind


def _arguments(kind: Any) -> list[str]:
    """The names of what `forward` takes, `self` among them."""
    return getattr(kind.forward, "arguments", None) or [*signature(kind.forward).parameters]


def _with_input_ids(forward: Any) -> Any:
    """The same forward with another name of its first argument. Raises UsageError where both are given."""

    @wraps(forward)
    def either(self: Any, *args: Any, **named: Any) -> Any:
        if "input_ids" not in named:
            return forward(self, *args, **named)
        if args or "tokens" in named:
            from zoo.errors import UsageError

            raise UsageError("tokens and input_ids are two names of one argument", hint="give one of them")
        return forward(self, named.pop("input_ids"), **named)

    either.arguments = [*signature(forward).parameters, "input_ids"]  # pyrefly: ignore[missing-attribute]
    return either


def _ledger_of(model: Any, what: str) -> Ledger:
    """The account of a model that was loaded."""
    ledger = model.__dict__.get("ledger")
    if ledger is None:
        from zoo.errors import UsageError

        raise UsageError(f"the model was built, not loaded, and brings no {what}", hint="zoo.load brings one along")
    return ledger


if TYPE_CHECKING:

    class Model(Pretrained, torch.nn.Module):
        """A model of any family as type checkers see it; what runs is the class that the family's author wrote."""

        ledger: Ledger  # of a model that was loaded

        def new_cache(self, batch_size: int, max_len: int) -> Any:
            """An empty cache, of a model that continues texts."""
            ...
