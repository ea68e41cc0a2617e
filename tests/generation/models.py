"""Small models that keep the contract of a decoder: one of a table, one of transformers."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from zoo.errors import UsageError

VOCAB = 17
STATES = 64


class TableCache:
    """Each row's state after every real token."""

    def __init__(self, batch_size: int, max_len: int) -> None:
        self.states = torch.zeros(batch_size, max_len + 1, dtype=torch.long)
        self.counts = torch.zeros(batch_size, dtype=torch.long)
        self.length, self.max_len = 0, max_len

    def reorder(self, index: Tensor) -> None:
        self.states, self.counts = self.states[index], self.counts[index]

    def rewind(self, length: int) -> None:
        self.counts = (self.counts - (self.length - length)).clamp(min=0)
        self.length = length

    def rewind_rows(self, lengths: list[int]) -> None:
        self.counts, self.length = torch.tensor(lengths), max(lengths)


class TableModel(nn.Module):
    """Logits looked up by a state that all real tokens so far have stirred: any slip in padding or caching shows."""

    def __init__(self, *, seed: int = 0, scale: float = 3.0, max_len: int | None = None, **config: object) -> None:
        super().__init__()
        table = torch.randn(STATES, VOCAB, generator=torch.Generator().manual_seed(seed)) * scale
        self.table = nn.Parameter(table, requires_grad=False)
        self.config = SimpleNamespace(**({"vocab_size": VOCAB, "eos_token_id": [2], "max_seq_len": 1000} | config))
        self.max_len = max_len
        self.passes: list[tuple[int, int]] = []  # shapes of the tokens of every call

    def new_cache(self, batch_size: int, max_len: int) -> TableCache:
        return TableCache(batch_size, min(max_len, self.max_len or max_len))

    def forward(
        self,
        tokens: Tensor,
        *,
        attention_mask: Tensor | None = None,
        cache: TableCache | None = None,
        last: bool = False,
    ) -> Tensor:
        self.passes.append(tuple(tokens.shape))
        batch_size, width = tokens.shape
        cache = cache or TableCache(batch_size, width)
        if cache.length + width > cache.max_len:
            raise UsageError("the cache is full")
        real = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
        rows, states = torch.arange(batch_size), []
        for t in range(width):
            state = cache.states[rows, cache.counts]
            state = torch.where(real[:, t], (state * 5 + tokens[:, t] * 11 + 1) % STATES, state)
            cache.counts = cache.counts + real[:, t]
            cache.states[rows, cache.counts] = state
            states.append(state)
        cache.length += width
        logits = self.table[torch.stack(states, 1)]
        return logits[:, -1:] if last else logits  # left padding only: the last column is each row's last real token


class LetterTokenizer:
    """One token per letter of a small alphabet; id 2 ends a text."""

    alphabet = "_ .abcdefghijklmn"

    def encode(self, text: str, /) -> list[int]:
        return [self.alphabet.index(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.alphabet[i] for i in ids)

    def decode_stream(self, context: object = ()) -> LetterStream:
        return LetterStream(self)


class LetterStream:
    def __init__(self, tokenizer: LetterTokenizer) -> None:
        self.tokenizer = tokenizer

    def push(self, token: int) -> str:
        return self.tokenizer.decode([token])

    def finish(self) -> str:
        return ""


class Foreign(nn.Module):
    """A decoder of transformers behind our contract, so that both generate with the same logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.config = SimpleNamespace(vocab_size=model.config.vocab_size, eos_token_id=model.config.eos_token_id)

    def new_cache(self, batch_size: int, max_len: int) -> ForeignCache:
        return ForeignCache(batch_size, max_len)

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: ForeignCache, last: bool = False
    ) -> Tensor:
        real = torch.ones_like(tokens) if attention_mask is None else attention_mask.long()
        cache.mask = torch.cat((cache.mask, real), 1)
        positions = (cache.mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        cache.length += tokens.shape[1]
        return self.model(
            tokens,
            attention_mask=cache.mask,
            position_ids=positions,
            past_key_values=cache.held,
            logits_to_keep=int(last),
        ).logits


class ForeignCache:
    def __init__(self, batch_size: int, max_len: int) -> None:
        from transformers import DynamicCache

        self.held, self.length, self.max_len = DynamicCache(), 0, max_len
        self.mask = torch.zeros(batch_size, 0, dtype=torch.long)

    def reorder(self, index: Tensor) -> None:
        self.held.reorder_cache(index)
        self.mask = self.mask[index]


def foreign_llama(seed: int = 0, **config: object) -> Foreign:
    """A random two-layer Llama of transformers whose next tokens are neither all alike nor all equally likely."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 23,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(sizes | {"eos_token_id": [2, 5], "pad_token_id": 0} | config))).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return Foreign(model)
