"""The trunk of the families, and the layers that it is made of.

Shapes: B batch, N choices, T tokens, D hidden, V vocab, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.export import register_dataclass

from zoo.nn import (
    ACTIVATIONS,
    MLP,
    Attention,
    ColumnSpan,
    PostNormLayer,
    PreNormLayer,
    RelativeBias,
    as_rows,
    everything,
    initialise,
    questions_of,
)

from .fields import EncoderConfig
from .parts import Embeddings, MaskedLMHead

LayerKind = type[PostNormLayer] | type[PreNormLayer]


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder gives; parts that the model does not have are None."""

    hidden: Tensor  # [B, T, D]; what stands at padding has no meaning
    pooled: Tensor | None = None  # [B, D], from each row's first column
    # masked LM [B, T, V], token classes [B, T, C], beginning and end of an answer [B, T, 2], classes of a sequence
    # [B, C] or of its choices [B, N]
    logits: Tensor | None = None
    next_sentence: Tensor | None = None  # [B, 2]: the second sentence follows the first (0) or not (1)


register_dataclass(EncoderOutput)  # as a tree of tensors, without which torch.export refuses the model


class Encoder(nn.Module):
    """Token ids to hidden states, each of which has seen all real tokens of its row, and to what heads make of them.

    Padding is never attended to: right-padded and unpadded rows give the same numbers. How left padding moves the
    positions is each family's own; a row of nothing but padding gives finite numbers without meaning.
    """

    def __init__(
        self,
        c: EncoderConfig,
        embed: Embeddings,
        layers: Iterable[nn.Module],
        *,
        norm: nn.Module | None = None,
        pooler: nn.Module | None = None,
        lm_head: MaskedLMHead | None = None,
        next_sentence: nn.Module | None = None,
        classifier: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = c
        self.embed = embed
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.pooler, self.lm_head, self.next_sentence = pooler, lm_head, next_sentence
        self.classifier = classifier
        if lm_head is not None and c.tie_embeddings:
            lm_head.decoder.weight = embed.tokens.weight

    def forward(
        self, tokens: Tensor, token_types: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> EncoderOutput:
        """Encode tokens [B, T]; token_types [B, T] are 0 if None; attention_mask [B, T] is True for real tokens.

        A multiple-choice head reads [B, N, T], all choices of a question; the states are those of B × N rows.
        Raises UsageError for more tokens than model.max_seq_len, and for token types that the model does not have.
        """
        questions = questions_of(tokens, self.config.head)
        tokens, token_types, attention_mask = as_rows(tokens), as_rows(token_types), as_rows(attention_mask)
        batch_size, num_tokens = tokens.shape
        span = ColumnSpan(batch_size, num_tokens, tokens.device, attention_mask=attention_mask)
        x = self.embed(tokens, token_types)
        for layer in self.passes():
            x = layer(x, span)
        if self.norm is not None:
            x = self.norm(x)
        pooled = None if self.pooler is None else self.pooler(x)
        logits = None if self.lm_head is None else self.lm_head(x)
        if self.classifier is not None:
            logits = self.classifier(x if pooled is None else pooled)
        if questions is not None and logits is not None:
            logits = logits.view(questions)
        next_sentence = None if self.next_sentence is None else self.next_sentence(pooled)
        return EncoderOutput(x, pooled, logits, next_sentence)

    def passes(self) -> Iterable[nn.Module]:
        """The layers in the order in which states pass through them."""
        return self.layers

    def reset_parameters(self) -> None:
        """Random weights from the current generator."""
        initialise(self)


def layers_of(
    c: EncoderConfig,
    norm_eps: float,
    *,
    kind: LayerKind = PostNormLayer,
    bias: RelativeBias | None = None,
    count: int | None = None,
) -> Iterator[nn.Module]:
    """`count` layers of a config, or all, their norms behind what they add or, of another kind, before it.

    They share a `bias`.
    """
    heads = c.num_heads, c.num_heads, c.hidden_size // c.num_heads
    for _ in range(c.num_layers if count is None else count):
        yield kind(
            attn=Attention(c.hidden_size, *heads, mask=everything, has_bias=True, bias=bias),
            mlp=MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation]),
            attn_norm=nn.LayerNorm(c.hidden_size, norm_eps),
            mlp_norm=nn.LayerNorm(c.hidden_size, norm_eps),
        )
