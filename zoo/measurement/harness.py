"""A model of zoo's as lm-evaluation-harness asks for one. Imports the harness (the extra `eval`).

The conventions are the harness' own for decoders, so that the numbers are those of its adapter for transformers: its
windows, its prefix token, texts encoded with the tokenizer's special tokens, contexts cut on the left, and what
generation_config.json sets (a repetition penalty, say) where a task sets nothing.

Shapes: B rows, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from lm_eval.api.model import TemplateLM  # pyrefly: ignore[missing-import]  # an extra that development can do without
from lm_eval.models.utils import normalize_gen_kwargs  # pyrefly: ignore[missing-import]  # the same
from lm_eval.utils import (  # pyrefly: ignore[missing-import]  # the same
    get_rolling_token_windows,
    make_disjoint_window,
)
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation import GenerationConfig
from zoo.generation.batching import Beginnings, generate_each
from zoo.generation.config import GenerationSettings
from zoo.text import Tokenizer

MAX_NEW = 256  # tokens, where a task does not say: the harness' own number
SHARED_BYTES = 256 << 20  # kept of contexts that begin alike, as shown examples do
MAX_LENGTH = 2048  # tokens, where a config does not say: the harness' own number

Pair = tuple[list[int], list[int]]  # context and continuation, as token ids


class ZooLM(TemplateLM):
    """A decoder and its tokenizer under the harness' contract."""

    backend = "causal"

    def __init__(
        self, model: Any, tokenizer: Tokenizer, *, settings: GenerationConfig | None = None, batch_size: int = 8
    ) -> None:
        super().__init__()
        self.model, self.zoo_tokenizer, self.batch_size = model, tokenizer, batch_size
        self.base = settings or GenerationConfig()  # the checkpoint's own, which a task's go before
        self.max_length = getattr(model.config, "max_seq_len", None) or MAX_LENGTH
        self._device = next(model.parameters()).device

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text. Raises UsageError where there is none."""
        known = [self.zoo_tokenizer.eos_token_id, *self.model.config.eos_token_id]
        found = next((token for token in known if token is not None), None)
        if found is None:
            raise UsageError("neither the tokenizer nor the config has a token that ends a text")
        return found

    @property
    def prefix_token_id(self) -> int:
        """What an empty context is replaced by."""
        bos = self.zoo_tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def tokenizer_name(self) -> str:
        """Distinguishes tokenizers where the harness caches requests."""
        return str(self.zoo_tokenizer.file).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **ignored: Any) -> list[int]:
        """Token ids; with the special tokens around them, unless told otherwise or the text spells its first itself."""
        if add_special_tokens is None:
            prefix = self.zoo_tokenizer.decode([self.prefix_token_id], skip_special_tokens=False)
            add_special_tokens = not (prefix and string.startswith(prefix))
        return self.zoo_tokenizer.encode(string, add_special_tokens=add_special_tokens)

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Nats of each whole text, in disjoint windows of the model's context."""
        pairs: list[Pair] = []
        counts = []
        for request in requests:
            tokens = self.tok_encode(request.args[0])
            found = get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, 1)
            windows = [make_disjoint_window(window) for window in found]
            pairs += windows
            counts.append(len(windows))
        scores = iter(self.score(pairs))
        totals = [sum(next(scores)[0] for _ in range(count)) for count in counts]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _loglikelihood_tokens(self, requests: Sequence[Any], **ignored: Any) -> list[tuple[float, bool]]:
        scores = self.score([(context, continuation) for _, context, continuation in requests])
        for (words, _, _), score in zip(requests, scores, strict=True):
            if words is not None:
                self.cache_hook.add_partial("loglikelihood", words, score)
        return scores

    @torch.inference_mode()
    def score(self, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
        """Log probability of each continuation, and whether it is what greedy decoding says."""
        rows = [(context + continuation)[-(self.max_length + 1) :] for context, continuation in pairs]
        found: dict[int, tuple[float, bool]] = {}
        longest_first = sorted(range(len(pairs)), key=lambda i: (-len(rows[i]), rows[i]))
        for indices in batched(longest_first, self.batch_size):
            tokens, mask = padded([rows[i][:-1] for i in indices], next(self.model.parameters()).device)
            logits = self.model(tokens, attention_mask=mask)  # [B, T, V]
            for i, row in zip(indices, logits, strict=True):
                num = min(len(pairs[i][1]), len(rows[i]) - 1)
                end = len(rows[i]) - 1
                targets = torch.tensor(rows[i][-num:], device=row.device)
                log_probs = row[end - num : end].float().log_softmax(-1)
                nats = log_probs.gather(1, targets[:, None]).sum().item()
                found[i] = nats, bool((log_probs.argmax(-1) == targets).all())
        return [found[i] for i in range(len(pairs))]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The continuation of each context, up to its task's stop texts or the end token."""
        prompts: list[list[int]] = []
        configs: list[GenerationConfig] = []
        for request in requests:
            context, asked = request.args
            config = self.settings(asked)
            room = self.max_length - (config.max_new_tokens or 0)
            if room < 1:
                told = f"the task asks for {config.max_new_tokens} tokens, but the model holds {self.max_length}"
                raise UsageError(told, hint="set generation_kwargs.max_gen_toks in the task")
            prompts.append(self.tok_encode(context)[-room:])
            configs.append(config)
        answers = generate_each(
            self.model, prompts, configs, tokenizer=self.zoo_tokenizer, max_rows=self.batch_size,
            beginnings=Beginnings(SHARED_BYTES),
        )  # fmt: skip
        for request, answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, answer)
        return answers

    def settings(self, asked: dict[str, Any]) -> GenerationConfig:
        """A task's generation_kwargs as ours, before the checkpoint's. Raises UsageError for one that we know not."""
        known: dict[str, Any] = dict(normalize_gen_kwargs(asked, MAX_NEW))
        stop, most = known.pop("until", []), known.pop("max_gen_toks")
        is_sampled, temperature = known.pop("do_sample"), known.pop("temperature", 0.0)
        taken = {name: known.pop(name) for name in [*known] if name in GenerationSettings.__annotations__}
        if known:
            raise UsageError(f"the task asks for {', '.join(sorted(known))}, which zoo's generation does not support")
        return self.base.updated(
            max_new_tokens=most, temperature=(temperature or 1.0) if is_sampled else 0.0,
            stop=[text for text in stop if text], num_return_sequences=1, **taken,
        )  # fmt: skip


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Tokens [B, T], padded on the right, and the mask [B, T] of the real ones (None: all)."""
    width = max(map(len, rows))
    tokens = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    mask = torch.arange(width, device=device) < lengths[:, None]
    return tokens, None if mask.all() else mask


def batched(items: Iterable[int], size: int) -> Iterator[list[int]]:
    """Lists of at most `size`."""
    held: list[int] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held
