"""The face that transformers' Trainer, trl and peft's prompts know a model by: labels in, a loss and logits out.

B batch, T tokens, V vocabulary, C classes, D hidden.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import UsageError
from zoo.nn import Decoder

IGNORED = -100  # of labels: what is not predicted


class TrainerOutput(dict[str, Any]):
    """`loss` and `logits`, by key and as attributes, as transformers' outputs have them."""

    def __getattr__(self, name: str) -> Any:
        if name in ("loss", "logits"):
            return self.get(name)
        raise AttributeError(name)


class FaceConfig:
    """A zoo config with what trainers ask of one of transformers; what they write on it does not reach the model."""

    def __init__(self, config: Any, *, is_encoder_decoder: bool) -> None:
        self.zoo = config
        self.is_encoder_decoder, self.use_cache, self._name_or_path = is_encoder_decoder, False, ""
        self.model_type = "zoo"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "zoo":
            raise AttributeError(name)
        return getattr(self.zoo, name)

    def get_text_config(self, **_: Any) -> FaceConfig:
        """The same: what reads pictures is not trained through this face."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The fields of the config."""
        return self.zoo.to_dict()

    def to_json_string(self, **_: Any) -> str:
        """The same as text."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True)


class TrainerFace(nn.Module):
    """A model of zoo as `model.for_trainer()` gives it; it holds the model itself, and no weights of its own.

    Labels stand where their tokens stand, as transformers has them: a decoder's are shifted here, once. What the face
    cannot pass on is refused, not ignored.
    """

    accepts_loss_kwargs = True  # num_items_in_batch: the mean over all tokens of an update, however it is accumulated

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.config: Any = FaceConfig(model.config, is_encoder_decoder=hasattr(model, "conditioned"))
        self.name_or_path, self.is_gradient_checkpointing = "", False
        self.generation_config = SimpleNamespace(pad_token_id=None, eos_token_id=None, bos_token_id=None)
        self.loss_type = (
            "ForCausalLM" if self.is_shifted else "ForMaskedLM"
        )  # by which Trainer counts what is predicted

    @property
    def is_shifted(self) -> bool:
        """Whether a token's label is predicted one place before it."""
        return hasattr(self.model, "new_cache") and not hasattr(self.model, "conditioned")

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def get_input_embeddings(self) -> nn.Module:
        """What tokens become first. Raises UsageError for a model that has no such table."""
        embed = getattr(self.model, "embed", None)
        table = getattr(embed, "tokens", embed)
        if not isinstance(table, nn.Module):
            raise UsageError(f"a {self.config.family} has no table of tokens")
        return table

    @property
    def base_model(self) -> Any:
        """What trl runs to apply the head itself, in chunks. Raises UsageError where logits are more than the head's.

        It reads a cap or a scale of the logits from configs of transformers, and would leave zoo's out.
        """
        self.get_output_embeddings()

        def states(input_ids: Tensor, attention_mask: Tensor | None = None, use_cache: bool = False) -> Any:
            model: Any = self.model
            mask = None if attention_mask is None else attention_mask.bool()
            return SimpleNamespace(last_hidden_state=model.states(input_ids, attention_mask=mask))

        return states

    def get_output_embeddings(self) -> nn.Module:
        """The head. Raises UsageError for a model whose logits are more than its head's product, or not a decoder's."""
        if not isinstance(self.model, Decoder) or type(self.model).decode is not Decoder.decode:
            what = f"trl applies the head itself, and the logits of a {self.config.family} are more than its head gives"
            raise UsageError(what, hint="transformers' Trainer trains it")
        head: Any = self.model.lm_head
        if hasattr(head, "base_layer"):
            raise UsageError("trl applies the head itself, and would leave out the adapter of lm_head")
        return head

    def add_model_tags(self, tags: Any) -> None:
        """trl marks models for the hub's cards; zoo's cards are its own."""

    def prepare_inputs_for_generation(self, *args: Any, **named: Any) -> dict[str, Any]:
        """peft looks for it; texts are generated by the model itself."""
        raise UsageError("the trainer's face does not generate", hint="model.generate(...) of the model that it holds")

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        return_dict: bool | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        past_key_values: Any = None,
    ) -> TrainerOutput:
        """Loss and logits for `input_ids` [B, T], or for `inputs_embeds` [B, T, D] in the place of their embeddings."""
        if (input_ids is None) == (inputs_embeds is None):
            raise UsageError("the trainer's face takes input_ids or inputs_embeds, and one of them")
        if past_key_values is not None:
            what = "keys and values of transformers, as prefix tuning makes them, do not fit into zoo's caches"
            raise UsageError(what, hint="prompt tuning puts its vectors before the tokens, and works")
        if output_attentions or output_hidden_states or return_dict is False:
            raise UsageError("the trainer's face gives loss and logits by name, and nothing else")
        options: dict[str, Any] = {} if token_type_ids is None else {"token_types": token_type_ids}
        if attention_mask is not None:
            options["attention_mask"] = attention_mask.bool()
        if hasattr(self.model, "conditioned"):
            options["decoder_tokens"] = self._asked(decoder_input_ids, labels)
        elif decoder_input_ids is not None:
            raise UsageError(f"a {self.config.family} has no decoder of its own to give decoder_input_ids")
        out = self._run(input_ids, inputs_embeds, options)
        logits = getattr(out, "logits", out)
        if not isinstance(logits, Tensor):
            raise UsageError(f"a {self.config.family} without a head gives no logits that could be trained")
        shifted = self.is_shifted
        loss = None if labels is None else loss_of(logits, labels, is_shifted=shifted, count=num_items_in_batch)
        return TrainerOutput({"loss": loss, "logits": logits} if loss is not None else {"logits": logits})

    def _run(self, tokens: Tensor | None, embeds: Tensor | None, options: dict[str, Any]) -> Any:
        if embeds is None:
            return self.model(tokens, **options)
        tokens = torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        handle = self.get_input_embeddings().register_forward_hook(lambda *_: embeds)
        try:
            return self.model(tokens, **options)
        finally:
            handle.remove()

    def _asked(self, decoder_input_ids: Tensor | None, labels: Tensor | None) -> Tensor:
        """What a decoder reads: as given, or the labels behind the token with which every target begins."""
        if decoder_input_ids is not None:
            return decoder_input_ids
        if labels is None:
            raise UsageError("an encoder-decoder needs labels, or decoder_input_ids")
        start = labels.new_full((labels.shape[0], 1), self.config.decoder_start_token_id)
        pad = self.config.pad_token_id
        before = labels[:, :-1]
        return torch.cat((start, before.masked_fill(before == IGNORED, 0 if pad is None else pad)), 1)


def loss_of(logits: Tensor, labels: Tensor, *, is_shifted: bool, count: Tensor | int | None = None) -> Tensor:
    """Cross entropy in float32 at least of logits [B, T, V] and labels [B, T], or of [B, C] and [B].

    `is_shifted` has a token's label predicted one place before it. `count` is what the sum is divided by, in the place
    of the number of labels. Raises UsageError for labels of another shape.
    """
    if labels.shape != logits.shape[:-1]:
        what = f"labels {list(labels.shape)} do not stand beside logits {list(logits.shape)}"
        raise UsageError(what, hint="labels have the shape of the tokens, or are one class for each row")
    if is_shifted:
        logits, labels = logits[:, :-1], labels[:, 1:]
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, -2)
    total = F.cross_entropy(wide, labels.flatten().to(logits.device), ignore_index=IGNORED, reduction="sum")
    return total / ((labels != IGNORED).sum() if count is None else count)
